#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace chorus {

// A SentencePiece model, BPE or unigram.
class Tokenizer {
 public:
  // Throws DataError for a file that is missing, truncated or no model, or that has no <s> and </s>.
  static Tokenizer load(const std::filesystem::path& path);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Neither adds <s> nor </s>, nor finds them in the text.
  std::vector<std::int32_t> encode(std::string_view text) const;
  // Throws DataError for an id outside the vocabulary.
  std::string decode(std::span<const std::int32_t> ids) const;

  std::int32_t size() const;  // V
  std::int32_t bos() const;
  std::int32_t eos() const;
  std::int32_t unk() const;
  // Fnv1a of the model file's bytes: tells whether data and base model belong together.
  std::uint64_t hash() const;

 private:
  struct Model;
  explicit Tokenizer(std::unique_ptr<Model> model);
  std::unique_ptr<Model> model_;
};

struct TokenizerTraining {
  std::vector<std::filesystem::path> files;  // UTF-8 text, learned from line by line
  std::int32_t vocabulary_size = 2048;
  std::filesystem::path output;  // must not exist
};

// Learns a tokenizer of LLaMA's kind: BPE over the text as it is, digits apart, unknown characters as bytes,
// <unk>, <s>, </s> = 0, 1, 2. Deterministic. Throws ConfigurationError if `output` exists or the text is too
// small for the vocabulary (or the vocabulary too small for bytes and characters).
void train_tokenizer(const TokenizerTraining& training);

}  // namespace chorus
