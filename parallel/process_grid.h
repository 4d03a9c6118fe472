#pragma once

#include <algorithm>
#include <cstdint>

#include "ops/base/error.h"

namespace chorus {

// Where a rank stands: rank = data_rank · tensor_size + tensor_rank, so that the ranks of one tensor group, which
// talk most, are neighbours and share a node.
struct ProcessGrid {
  int data_size = 1;
  int tensor_size = 1;
  int rank = 0;

  int size() const { return data_size * tensor_size; }
  int tensor_rank() const { return rank % tensor_size; }
  int data_rank() const { return rank / tensor_size; }
};

// The grid of `world_size` ranks with tensor groups of `tensor_size`. Throws ConfigurationError.
inline ProcessGrid make_grid(int world_size, int tensor_size, int rank) {
  require<ConfigurationError>(tensor_size >= 1 && world_size % tensor_size == 0, "--tensor-parallel ",
                              tensor_size, " does not divide the ", world_size, " ranks that were started");
  return {world_size / tensor_size, tensor_size, rank};
}

// The part [begin, end) of `extent` that tensor rank `rank` of `size` holds: equal parts of ceil(extent / size), the
// last ones shorter or empty.
struct Shard {
  std::int64_t begin = 0, end = 0;
  std::int64_t length() const { return end - begin; }
};
inline Shard shard(std::int64_t extent, int rank, int size) {
  const std::int64_t part = (extent + size - 1) / size;
  const std::int64_t begin = std::min(extent, part * rank);
  return {begin, std::min(extent, begin + part)};
}

// What of a linear layer is divided among tensor ranks: the outputs (columns of Wᵀ) or the inputs (rows of Wᵀ).
enum class Split { columns, rows };

}  // namespace chorus
