#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/scoring/predictions.h"

namespace chorus {

// One way of answering a split: the base alone, or with its adapter.
struct AnsweredSplit {
  std::string name;
  Evaluation evaluation;
};

// What `chorus evaluate` says and stores of one or more answers to the same utterances: scores of all utterances, of
// each corpus where the split mixes several, and, where a list of utterances is given, the same without these. Where the
// utterances have no gold labels there are no scores: it says how often each label was predicted.
class EvaluationReport {
 public:
  // `exclude` is a file for read_utterance_keys(), or empty. Throws DataError for what is wrong with that file, and where it
  // lists every utterance. Either all utterances of `split` have gold labels or none.
  EvaluationReport(const DataSplit& split, std::span<const AnsweredSplit> answers,
                   const std::string& exclude);

  std::string to_text() const;
  // The fields majority_weighted_f1, results and, with a list, excluded of eval_results.json; or predicted.
  nlohmann::ordered_json to_json() const;

 private:
  struct Entry {
    std::string name;
    Scores all;
    std::vector<CorpusScores> corpora;
  };

  // Of the utterances that are `kept`, [utterances].
  static std::vector<Entry> score(std::span<const AnsweredSplit> answers, const DataSplit& split,
                                  std::span<const std::int32_t> corpus_of, const std::vector<bool>& kept);
  static std::string lines(const std::vector<Entry>& entries);
  static nlohmann::ordered_json entry_json(const Entry& entry);

  struct Predicted {
    std::string name;
    std::vector<std::pair<std::string, std::int64_t>> labels;  // and how often
  };

  std::vector<Predicted> predicted_;  // instead of all below, where no utterance has a gold label
  double majority_ = 0;               // weighted F1
  std::vector<Entry> entries_, remaining_;
  std::optional<Exclusion> exclusion_;
};

}  // namespace chorus
