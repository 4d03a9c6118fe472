#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/scoring/evaluator.h"
#include "core/scoring/metrics.h"
#include "core/scoring/utterance_key.h"

namespace chorus {

// One line of a prediction file: how an utterance was answered.
struct AnsweredUtterance {
  UtteranceKey key;
  std::string speaker, text;
  std::string gold, predicted;  // labels of the corpus; gold: "" if not known; predicted: "" for none
  std::vector<std::pair<std::string, double>> scores;  // label, log probability; empty where decoded
  std::optional<std::string> answer;                   // raw generated text, where decoded
  bool found = true;                                   // false: the answer held no label
  bool operator==(const AnsweredUtterance&) const = default;
};

// One after another in the order of the split, which must be the one that was evaluated.
void for_each_answered(const Evaluation& evaluation, const DataSplit& split,
                       const std::function<void(AnsweredUtterance&&)>& use);

// One JSON object a line; see docs/formats.md.
std::string to_json_lines(std::span<const AnsweredUtterance> utterances);
// Throws ConfigurationError if the file exists: predictions are never overwritten.
void write_predictions(const std::filesystem::path& path, std::span<const AnsweredUtterance> utterances);
// The same of for_each_answered().
void write_predictions(const std::filesystem::path& path, const Evaluation& evaluation,
                       const DataSplit& split);
// Throws DataError with file and line for a line that is no such object, lacks a field, also the gold label, has an
// unknown one, or repeats an utterance, and for a file without any.
std::vector<AnsweredUtterance> read_predictions(const std::filesystem::path& path);

// How often each label was predicted, for utterances without gold labels, and last "(no label)" if an answer holds none.
std::vector<std::pair<std::string, std::int64_t>> predicted_counts(const Evaluation& evaluation);

// All labels that were to choose from, in the order of their scores, and behind them those that occur as gold or
// predicted only (all of them where answers were decoded), in the order of the alphabet.
std::vector<std::string> labels_of(std::span<const AnsweredUtterance> utterances);
// Over `labels`, which must hold every gold and predicted one.
Scores scores_of(std::span<const AnsweredUtterance> utterances, std::vector<std::string> labels);

struct CorpusScores {
  std::string corpus;
  Scores scores;
};
// Of each corpus apart, in the order of their first utterances. Labels that a corpus neither has nor was given do not
// count in its macro F1, as scikit-learn's default has it: the list of a mixed data set is longer than that of each
// part.
std::vector<CorpusScores> scores_by_corpus(std::span<const AnsweredUtterance> utterances);
// `corpus_of` [utterances] are indices into `corpora`; predictions are of `labels`, whose order that of each corpus keeps.
std::vector<CorpusScores> scores_by_corpus(const std::vector<std::string>& corpora,
                                           std::span<const std::int32_t> corpus_of,
                                           const std::vector<std::string>& labels,
                                           std::span<const Prediction> predictions);

// The utterances of a file of JSON lines with at least corpus, split, dialogue and utterance; further fields are
// ignored. Throws DataError with file and line.
std::set<UtteranceKey> read_utterance_keys(const std::filesystem::path& path);

// Leaves utterances out, each of which comes once, and counts them.
class Exclusion {
 public:
  // `file` for read_utterance_keys().
  explicit Exclusion(std::filesystem::path file)
      : file_(std::move(file)), keys_(read_utterance_keys(file_)) {}

  bool excludes(const UtteranceKey& key);

  std::int64_t removed() const { return removed_; }
  std::int64_t remaining() const { return remaining_; }
  // Keys of a corpus and split that came, but of none of their utterances: a sign that the list belongs to another version
  // of the corpus.
  std::int64_t unmatched() const;

  nlohmann::ordered_json to_json() const;
  // What the user should know of it: how many the list removed, and how many keys matched nothing.
  std::string describe() const;

 private:
  std::filesystem::path file_;
  std::set<UtteranceKey> keys_;
  std::set<std::pair<std::string, std::string>> splits_;  // corpus and split
  std::int64_t removed_ = 0, remaining_ = 0;
};

}  // namespace chorus
