#include "data/tokenizers/sentencepiece_training.h"

#include <unordered_map>

#include <sentencepiece_trainer.h>

#include "data/text/files.h"
#include "data/text/text.h"
#include "data/text/text_file.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

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
  LineScanner scanner(text);
  while (const std::optional<NumberedView> line = scanner.next()) {
    if (!line->text.empty()) lines.emplace_back(line->text);
  }
}

}  // namespace

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
