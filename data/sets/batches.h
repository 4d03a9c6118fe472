#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "data/sets/batch.h"
#include "data/sets/data_split.h"
#include "data/sets/epochs.h"

namespace chorus {

struct BatchOptions {
  std::int64_t batch_size = 32;               // samples of an optimizer step, over all data ranks
  std::int64_t tokens_per_microbatch = 2048;  // bounds the tokens and also the targets of a micro-batch
  bool shuffle = true;                        // of trees; samples follow in the order of their tree
  std::int64_t curriculum = 1;  // n: epoch e, from 1, takes the first e n-ths of the trees, and from n on all
  std::uint64_t seed = 0;
  bool prefix_sharing = true;  // off: every sample is a root of its own
};

// What a step learns, by the names of the options; the seed is said elsewhere, because more depends on it. The step's size in
// micro-batches, ranks and shared prefixes changes the rounding of sums and no more: targets, weights and dropout masks are
// those of a sample's own tokens.
nlohmann::ordered_json identity(const BatchOptions& options);

// Which samples stand in which step, rank and micro-batch: a pure function of the options, the epoch and the
// step.
//
// Epoch e takes its trees in a random order of (seed, e); step s of it takes samples [s·B, (s+1)·B) of that
// order, so every sample of them exactly once; the last step may be smaller. A tree that is divided between
// steps, ranks or micro-batches is cut to what its samples there need. What a step learns never depends on
// the number of ranks.
class Batches {
 public:
  // Throws ConfigurationError for options that cannot work, among them a sample longer than a micro-batch, or a curriculum
  // of more parts than trees;
  // DataError for a split without samples.
  Batches(DataSplit split, const BatchOptions& options, int data_ranks = 1);

  const Epochs& epochs() const { return epochs_; }
  // Of one that takes all trees.
  std::int64_t steps_per_epoch() const;

  struct Step {
    std::vector<MicroBatch> microbatches;  // of the data rank asked for; may be none
    // Over all data ranks. `tokens` are computed, `unshared_tokens` would be without prefix sharing.
    std::int64_t samples = 0, supervised_tokens = 0, tokens = 0, unshared_tokens = 0;
    double weight = 0;  // sum over the supervised tokens of the weights of their samples
  };
  // `step` counts from 0 over all epochs.
  Step step(std::int64_t step, int data_rank) const;
  // Of all samples of trees [first, end) of the split, in their order, whatever the options say of steps.
  Step whole_trees(std::int64_t first, std::int64_t end, int data_rank) const;

 private:
  struct EpochOrder;
  struct SamplesOfTree;

  std::int64_t trees_of(std::int64_t epoch) const;
  Epochs epochs_of_split() const;
  std::shared_ptr<const EpochOrder> epoch_order(std::int64_t epoch) const;
  std::vector<SamplesOfTree> samples_of(std::int64_t step) const;
  Step divide(const std::vector<SamplesOfTree>& chosen, int data_rank) const;

  DataSplit split_;
  BatchOptions options_;
  int data_ranks_;
  Epochs epochs_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const EpochOrder>
      last_order_;  // steps come in order: the epoch's permutation is kept
};

}  // namespace chorus
