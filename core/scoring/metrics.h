#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace chorus {

// The answer to one utterance that counts as wrong whatever its gold label is.
inline constexpr std::int32_t no_label = -1;

// The answer to one utterance, as indices of labels.
struct Prediction {
  std::int32_t gold = 0;       // -1: not known, not to be scored
  std::int32_t predicted = 0;  // may be no_label
  bool found = true;           // false: a miss, the answer holds no label
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
  std::int64_t unmatched() const { return unmatched_; }  // the misses without a label: in no column below
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
  std::int64_t count_ = 0, misses_ = 0, unmatched_ = 0;
};

// The most frequent of the gold labels (the earlier one of equals), no_label for an empty list.
std::int32_t majority_label(std::span<const std::int32_t> gold);
// Weighted F1 of predicting for everything the most frequent of the gold labels (the earlier one of equals).
// 0 for an empty list.
double majority_baseline(std::span<const std::int32_t> gold);

}  // namespace chorus
