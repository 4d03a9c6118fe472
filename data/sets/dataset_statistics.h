#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/corpora/corpus_statistics.h"
#include "data/sets/dataset.h"

namespace chorus {

// Of one stored split.
struct DatasetStatistics {
  DatasetOrigin origin;
  std::int64_t utterances = 0, without_label = 0;
  std::vector<std::int64_t> label_counts;         // of utterances, as origin.labels
  std::map<std::string, std::int64_t> of_corpus;  // utterances; empty where nothing is mixed
  std::int64_t trees = 0, samples = 0;
  std::int64_t about_no_utterance = 0, weighted = 0;  // samples; of a weight other than 1
  std::int64_t tokens = 0, unshared_tokens = 0, supervised_tokens = 0;
  LengthStatistics sample_tokens;
  std::int64_t feature_rows = 0, feature_width = 0;

  double sharing() const;  // unshared_tokens / tokens
};
DatasetStatistics statistics_of(const Dataset& dataset);

// For people: a column per data set, and a row for each label that any of them has.
std::string to_table(const std::vector<DatasetStatistics>& datasets);

}  // namespace chorus
