#include "data/prompts/tokenizer.h"

#include <unordered_map>

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include "data/text/files.h"
#include "data/text/text_file.h"
#include "ops/base/error.h"
#include "ops/base/hash.h"

namespace chorus {

namespace {

// The SentencePiece library accepts any prefix of a model file that ends between two fields, and would then
// guess what is missing. The fields stand in the order of their numbers (sentencepiece_model.proto): pieces
// 1, trainer 2, normaliser 3; a file without the last two has lost its end.
bool is_complete_model(std::string_view bytes) {
  std::size_t i = 0;
  const auto varint = [&]() -> std::uint64_t {
    std::uint64_t value = 0;
    for (int shift = 0; i < bytes.size() && shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes[i++]);
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
    return ~std::uint64_t{0};
  };
  std::unordered_map<std::uint64_t, std::int64_t> seen;
  while (i < bytes.size()) {
    const std::uint64_t key = varint();
    if ((key & 7) != 2) return false;  // all fields of the file are messages
    const std::uint64_t length = varint();
    if (length > bytes.size() - i) return false;
    i += length;
    ++seen[key >> 3];
  }
  return seen[1] > 0 && seen[2] == 1 && seen[3] == 1;
}

// Feeds the lines of some texts to the trainer.
class Lines : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(std::vector<std::string> lines) : lines_(std::move(lines)) {}
  bool done() const override { return next_ == lines_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return lines_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> lines_;
  std::size_t next_ = 0;
};

void append_lines(std::vector<std::string>& lines, const std::string& text) {
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) lines.push_back(std::move(line));
    begin = end + 1;
  }
}

}  // namespace

struct Tokenizer::Model {
  sentencepiece::SentencePieceProcessor processor;
  std::uint64_t hash = 0;
  std::string path;
};

Tokenizer::Tokenizer(std::unique_ptr<Model> model) : model_(std::move(model)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  require<DataError>(is_complete_model(bytes), path.string(),
                     ": is not a SentencePiece model, or truncated (", bytes.size(), " bytes)");
  auto model = std::make_unique<Model>();
  const auto status = model->processor.LoadFromSerializedProto(bytes);
  require<DataError>(status.ok(), path.string(),
                     ": is not a usable SentencePiece model: ", status.ToString());
  require<DataError>(model->processor.bos_id() >= 0 && model->processor.eos_id() >= 0, path.string(),
                     ": the vocabulary has no beginning or no end of a sequence (<s>, </s>)");
  model->hash = Fnv1a().add(bytes).value();
  model->path = path.string();
  return Tokenizer(std::move(model));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int> ids;
  const auto status = model_->processor.Encode(absl::string_view(text.data(), text.size()), &ids);
  require<DataError>(status.ok(), model_->path, ": cannot encode: ", status.ToString());
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  for (const std::int32_t id : ids) {
    require<DataError>(id >= 0 && id < size(), model_->path, ": token ", id, " is outside the vocabulary of ",
                       size());
  }
  std::string text;
  const auto status = model_->processor.Decode(std::vector<int>(ids.begin(), ids.end()), &text);
  require<DataError>(status.ok(), model_->path, ": cannot decode: ", status.ToString());
  return text;
}

std::int32_t Tokenizer::size() const { return model_->processor.GetPieceSize(); }
std::int32_t Tokenizer::bos() const { return model_->processor.bos_id(); }
std::int32_t Tokenizer::eos() const { return model_->processor.eos_id(); }
std::int32_t Tokenizer::unk() const { return model_->processor.unk_id(); }
std::uint64_t Tokenizer::hash() const { return model_->hash; }

void train_tokenizer(const TokenizerTraining& training) {
  require<ConfigurationError>(!training.files.empty(), "no text to learn a tokenizer from");
  require<ConfigurationError>(!std::filesystem::exists(training.output), training.output.string(),
                              ": exists already and is not overwritten; remove it or choose another name");
  std::vector<std::string> lines;
  for (const std::filesystem::path& file : training.files) append_lines(lines, read_text_file(file));
  Lines iterator(std::move(lines));
  const std::unordered_map<std::string, std::string> options{
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(training.vocabulary_size)},
      {"character_coverage", "1.0"},
      {"byte_fallback", "true"},
      {"split_digits", "true"},
      {"allow_whitespace_only_pieces", "true"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"add_dummy_prefix", "true"},
      {"unk_id", "0"},
      {"bos_id", "1"},
      {"eos_id", "2"},
      {"pad_id", "-1"},
      {"unk_surface", " \xE2\x81\x87 "},
      {"max_sentence_length", "1048576"},
      {"num_threads", "1"},
      {"minloglevel", "2"},
  };
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(options, &iterator, &model);
  require<ConfigurationError>(status.ok(), "no tokenizer of ", training.vocabulary_size,
                              " tokens can be learned from this text: ", status.ToString());
  write_new_file(training.output, model);
}

}  // namespace chorus
