#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/base/forest.h"

namespace chorus {

// A token below 0 is no word: it stands for row -1 - token of the data set's features.
constexpr bool is_feature(std::int32_t token) { return token < 0; }
constexpr std::int32_t feature_row(std::int32_t token) { return -1 - token; }
constexpr std::int32_t feature_token(std::int32_t row) { return -1 - row; }

// "The logits at `row` should predict `token`." One row may have several targets, one per branch after it.
struct Target {
  std::int32_t row = 0;
  std::int32_t token = 0;
  std::int32_t sample = 0;  // index into MicroBatch::samples
  bool operator==(const Target&) const = default;
};

// What one rank computes at once: a forest of N tokens and what is asked of it.
struct MicroBatch {
  Forest forest;
  std::vector<std::int32_t> tokens;     // [N]
  std::vector<float> features;          // [n, d] rows of the n tokens below 0, in their order
  std::vector<std::int64_t> token_ids;  // [N] index of the token in the data set, whatever batch it stands in
  std::vector<Target> targets;          // [T] rows ascending
  std::vector<std::int64_t> samples;    // data-set index of each sample
  std::vector<float> weights;           // [samples] of their targets in the loss; empty: all 1
  // Tokens that the same samples would need as separate prompts: N is smaller where prefixes are shared.
  std::int64_t unshared_tokens = 0;
};

// Distinct rows of its targets.
std::int64_t rows_with_targets(const MicroBatch& batch);

}  // namespace chorus
