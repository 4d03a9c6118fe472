#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "data/sets/dataset.h"

namespace chorus {

// What was written of a split.
struct SplitCounts {
  std::int64_t samples = 0, trees = 0, tokens = 0, unshared_tokens = 0, supervised_tokens = 0;
};

// Writes a split as it comes: FOLDER/SPLIT.h5, or shards (data_split.h), each as soon as it is full, so that no more than one is
// in memory. A shard is full with the tree that brings its arrays to `shard_bytes`; a split with features is not divided.
class SplitWriter {
 public:
  SplitWriter(std::filesystem::path folder, const DatasetOrigin& origin, std::int64_t shard_bytes);

  // As those of DatasetBuilder. Utterances come before the group that speaks of them.
  std::int32_t add_utterance(UtteranceReference utterance);
  void set_features(FeatureTable features);
  std::int32_t add_feature_rows(std::span<const float> rows);
  void add_group(std::span<const GroupSample> samples, const std::string& where);
  // Writes what is left, and gives shards their names. Without any sample, nothing is written.
  SplitCounts finish();

 private:
  // Of the arrays so far, as a shard has them.
  std::int64_t bytes() const;
  void end_shard_if_full();
  void write(bool last);

  std::filesystem::path folder_;
  std::string split_;
  std::int64_t shard_bytes_;
  DatasetBuilder builder_;
  std::array<std::size_t, 4> widths_{};  // of the strings of utterances
  SplitCounts counts_;
  bool full_ = false;        // what comes next begins another shard
  std::int64_t shards_ = 0;  // written
  std::string former_;       // hash of the last of them
};

}  // namespace chorus
