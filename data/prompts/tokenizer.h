#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizers/sentencepiece_training.h"
#include "data/tokenizers/tokenizer_engine.h"

namespace chorus {

// The file that Tokenizer::load() reads: `path` itself; of a folder tokenizer.model, or tokenizer.json where that is
// missing or cannot be read as a SentencePiece model. None for a folder that has neither.
std::optional<std::filesystem::path> tokenizer_file(const std::filesystem::path& path);

// Copies a tokenizer into a folder, under the name that is looked for there, with what beside it says how texts end.
void copy_tokenizer(const std::filesystem::path& tokenizer, const std::filesystem::path& folder);

// A SentencePiece model, or a tokenizer.json of byte-level BPE. May be used by several threads.
class Tokenizer {
 public:
  // Of a file of either kind, or of a folder that has one. Throws DataError for a file that is missing, truncated or
  // neither, that needs what is not supported (docs/formats.md), or a SentencePiece model without <s> and </s>.
  static Tokenizer load(const std::filesystem::path& path);

  // Adds nothing around the text. SentencePiece finds no <s> or </s> in it; a tokenizer.json finds its added tokens,
  // as Transformers does. Bytes that are no UTF-8 are read as U+FFFD.
  std::vector<std::int32_t> encode(std::string_view text) const;
  // The same of what may come from anyone: no special token is found in it, whatever it looks like.
  std::vector<std::int32_t> encode_as_text(std::string_view text) const;
  // With what the model expects around a text: LLaMA's <s>, or the template of tokenizer.json.
  std::vector<std::int32_t> encode_with_special(std::string_view text) const;
  // Throws DataError for an id outside the vocabulary.
  std::string decode(std::span<const std::int32_t> ids) const;

  // How the file writes one of its tokens, such as </s>; "" for an id without one.
  std::string token(std::int32_t id) const;
  // The id of a token that is no word, such as <|im_start|> or </s>, by how the file writes it; none where it has no
  // such token.
  std::optional<std::int32_t> special(std::string_view token) const;

  std::int32_t size() const;  // V: ids are below it
  // The token that begins a text; none for models that were trained without one.
  std::optional<std::int32_t> bos() const;
  // The tokens that a prompt begins with: bos(), if there is one.
  std::vector<std::int32_t> beginning() const;
  // The token that ends a text. Throws DataError for a tokenizer.json where no file says which it is.
  std::int32_t eos() const;
  std::optional<std::int32_t> unk() const;
  // Fnv1a of the file's bytes: tells whether data and base model belong together.
  std::uint64_t hash() const { return hash_; }
  const std::string& path() const { return path_; }

 private:
  Tokenizer(std::unique_ptr<const TokenizerEngine> engine, std::uint64_t hash, std::string path);

  std::unique_ptr<const TokenizerEngine> engine_;
  std::uint64_t hash_;
  std::string path_;
};

}  // namespace chorus
