#pragma once

#include "core/model/model.h"
#include "ops/dry_backend.h"

namespace chorus {

// One rank of a grid whose work is only measured.
struct Rehearsal {
  explicit Rehearsal(const ProcessGrid& grid)
      : world(grid.rank, grid.size()),
        data(grid.data_rank(), grid.data_size),
        tensor(grid.tensor_rank(), grid.tensor_size),
        groups{grid, world, data, tensor} {}
  DryBackend backend;
  IdleCommunicator world, data, tensor;
  Groups groups;
};

// One sequence whose last `rows` tokens have targets.
MicroBatch rehearsal_batch(std::int64_t tokens, std::int64_t rows);

// What a micro-batch takes in the worst case, in which every token is a row of features. Nothing without a projector.
FeatureRows most_features(const ModelOptions& options, std::int64_t tokens, Arena& arena);

}  // namespace chorus
