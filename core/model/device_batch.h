#pragma once

#include <cstdint>
#include <vector>

#include "data/sets/batch.h"
#include "ops/memory.h"
#include "parallel/vocabulary.h"

namespace chorus {

// Tokens that are no words but rows of features.
struct FeatureRows {
  ConstTensor values;  // [n, d]
  ConstTensor rows;    // i32 [n] which of the N tokens they are, ascending
  std::int64_t count() const { return rows.elements(); }
};

// A micro-batch in the memory of the backend.
struct DeviceBatch {
  Forest forest;
  ConstTensor tokens;     // i32 [N]
  ConstTensor positions;  // i32 [N]
  ConstTensor token_ids;  // i64 [N]
  FeatureRows features;
  ConstTensor target_rows;  // i32 [M] distinct rows that have targets, ascending
  Targets targets;          // of these M rows

  std::vector<std::int64_t> chunk_offsets;  // what targets.offsets views

  std::int64_t size() const { return tokens.elements(); }
  DeviceBatch() = default;
  DeviceBatch(DeviceBatch&&) = default;  // moving keeps the view valid, copying would not
  DeviceBatch& operator=(DeviceBatch&&) = default;
};

// Floats become those of a model that computes in `precision`. Appends a tree of tokens that nobody asks about where N is no multiple of `token_multiple`.
DeviceBatch upload(const MicroBatch& batch, Backend& backend, Arena& arena, DType precision,
                   std::int64_t token_multiple = 1);

}  // namespace chorus
