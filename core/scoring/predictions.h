#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

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

// In the order of the data set, which must be the one that was evaluated.
std::vector<AnsweredUtterance> answered_utterances(const Evaluation& evaluation, const Dataset& dataset);

// One JSON object a line; see docs/formats.md.
std::string to_json_lines(std::span<const AnsweredUtterance> utterances);
// Throws ConfigurationError if the file exists: predictions are never overwritten.
void write_predictions(const std::filesystem::path& path, std::span<const AnsweredUtterance> utterances);
// Throws DataError with file and line for a line that is no such object, lacks a field, also the gold label, has an
// unknown one, or repeats an utterance, and for a file without any.
std::vector<AnsweredUtterance> read_predictions(const std::filesystem::path& path);

// How often each of `labels` was predicted, for utterances without gold labels, and last "(no label)" if an answer holds
// none.
std::vector<std::pair<std::string, std::int64_t>> predicted_counts(
    std::span<const AnsweredUtterance> utterances, std::span<const std::string> labels);

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

// The utterances of a file of JSON lines with at least corpus, split, dialogue and utterance; further fields are
// ignored. Throws DataError with file and line.
std::set<UtteranceKey> read_utterance_keys(const std::filesystem::path& path);

// What remains without some utterances.
struct Remainder {
  std::vector<AnsweredUtterance> utterances;
  std::int64_t removed = 0;
  // Keys of a corpus and split that are there, but of none of their utterances: a sign that the list belongs to another
  // version of the corpus.
  std::int64_t unmatched = 0;
};
Remainder without(std::span<const AnsweredUtterance> utterances, const std::set<UtteranceKey>& excluded);
// What the user should know of it: how many the list `file` removed, and how many keys matched nothing.
std::string describe_exclusion(const std::string& file, const Remainder& remainder);

}  // namespace chorus
