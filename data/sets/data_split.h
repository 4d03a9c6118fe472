#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/sets/dataset.h"

namespace chorus {

// A split as it stands in a folder: SPLIT.h5, or the shards SPLIT-00001-of-0000N.h5 … in their order.
struct SplitFiles {
  std::string name;
  std::vector<std::filesystem::path> files;  // none where there is no such split
};

// "train-00003-of-00016.h5".
std::string shard_name(const std::string& split, std::int64_t number, std::int64_t count);
// What the shard behind a file keeps of it.
std::string hash_of_shard(const std::filesystem::path& file);

// The splits of a folder, train, dev and test first. Throws DataError that names the shards that are missing, or that
// are of two preparations.
std::vector<SplitFiles> splits_in(const std::filesystem::path& folder);
SplitFiles find_split(const std::filesystem::path& folder, const std::string& name);

// Reads one part after another, all of them checked: each by itself, and to be of one preparation. Throws DataError that
// names the file.
void for_each_part(const SplitFiles& split, const std::function<void(Dataset&&)>& use);
// The split in memory, as if it were one file.
Dataset read_whole(const SplitFiles& split);

// What is known of a sample without its tokens.
struct SampleSummary {
  std::int32_t utterance = -1, answer = -1;  // as Sample has them; utterances are those of the split
  std::int32_t supervised_tokens = 0;
  bool operator==(const SampleSummary&) const = default;
};

// One split as those see it who take it a few trees at a time. A data set is held; of shards is held where each tree begins (16
// bytes a tree), and the rest is read from the files: by those who need it, as far as they do. They must not be written to
// meanwhile.
class DataSplit {
 public:
  // `dataset` must outlive this and its copies; one that is given away need not.
  DataSplit(const Dataset& dataset);
  DataSplit(Dataset&& dataset);
  // Holds one file, maps shards, and reads and checks all of both. Throws DataError as for_each_part().
  explicit DataSplit(const SplitFiles& files);

  const DatasetOrigin& origin() const;
  const FeatureTable& features() const;
  std::int64_t trees() const { return std::ssize(tree_tokens()) - 1; }
  std::int64_t samples() const { return tree_samples().back(); }
  std::int64_t tokens() const { return tree_tokens().back(); }
  std::int64_t utterances() const;
  // Of all utterances, as Dataset has them.
  bool has_gold() const;
  bool has_candidates() const;
  // [trees + 1] of the first token and sample of each tree.
  std::span<const std::int64_t> tree_tokens() const;
  std::span<const std::int64_t> tree_samples() const;
  // Of all samples, as Dataset::length() counts.
  std::int64_t longest_sample() const;
  // Dataset::content_hash() of read_whole().
  std::uint64_t content_hash() const;

  // The end of a window of neighbouring trees that begins with this one: as many as have at most `tokens` together, but one at
  // least.
  std::int64_t end_of_window(std::int64_t first_tree, std::int64_t tokens) const;

  // These trees alone, in this order; of their samples, utterances are those of the split. May be called by several threads.
  Dataset take(std::span<const std::int64_t> trees) const;
  // Trees [first, end).
  Dataset take(std::int64_t first, std::int64_t end) const;
  // Of all samples of trees [first, end).
  std::vector<SampleSummary> summaries(std::int64_t first, std::int64_t end) const;

  // [utterances] gold, or -1.
  std::vector<std::int32_t> utterance_labels() const;
  UtteranceReference utterance(std::int64_t index) const;
  // One after another; of one shard at a time. Throws DataError where it cannot be read any more.
  void for_each_utterance(const std::function<void(const UtteranceReference&)>& use) const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

}  // namespace chorus
