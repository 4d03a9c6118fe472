#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace chorus {

// The answer to one utterance, as indices of labels.
struct Prediction {
  std::int32_t gold = 0;  // -1: not known, not to be scored
  std::int32_t predicted = 0;
  bool found = true;  // false: a miss, the label was only guessed from an answer that holds none
};

// How well predictions agree with the gold labels, as scikit-learn computes it with labels = all of them and
// zero_division = 0. All scores are fractions.
class Scores {
 public:
  struct Class {
    double precision = 0, recall = 0, f1 = 0;
    std::int64_t support = 0;    // utterances with this gold label
    std::int64_t predicted = 0;  // utterances given this label
  };

  // Throws Error for an index that is no label.
  Scores(std::vector<std::string> labels, std::span<const Prediction> predictions);

  const std::vector<std::string>& labels() const { return labels_; }
  std::int64_t count() const { return count_; }
  std::int64_t misses() const { return misses_; }
  std::int64_t confusion(std::size_t gold, std::size_t predicted) const;
  const std::vector<Class>& classes() const { return classes_; }

  double accuracy() const;
  double weighted_f1() const;  // mean of the F1 of the classes, weighted by their support
  double macro_f1() const;     // plain mean over all labels

  nlohmann::ordered_json to_json() const;
  // Per-class table, totals and confusion matrix in percent and counts, at most 100 columns wide up to nine
  // labels.
  std::string to_table() const;

 private:
  std::vector<std::string> labels_;
  std::vector<std::int64_t> confusion_;  // [gold, predicted]
  std::vector<Class> classes_;
  std::int64_t count_ = 0, misses_ = 0;
};

// Weighted F1 of predicting for everything the most frequent of the gold labels (the earlier one of equals).
// 0 for an empty list.
double majority_baseline(std::span<const std::int32_t> gold);

struct LabelMatch {
  std::int32_t index = 0;
  bool found = true;  // false: no label stands in the answer, this is the most similar one
};

// How InstructERC reads a free answer: the first label that stands in it from left to right, the longest of
// those that start at one place; case counts, word boundaries do not. Otherwise the label of the smallest
// Levenshtein distance to the whole answer, the earlier one of equals.
LabelMatch match_label(std::string_view answer, std::span<const std::string> labels);

}  // namespace chorus
