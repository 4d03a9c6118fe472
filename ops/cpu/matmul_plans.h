#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include <dnnl.hpp>

#include "ops/cpu/cpu_backend.h"

namespace chorus {

// A product of matrices with everything that oneDNN compiles into it. Leading dimensions are in elements.
struct MatmulKey {
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t a_leading = 0, b_leading = 0, out_leading = 0;
  bool transpose_a = false, transpose_b = false, accumulate = false;
  DType input = DType::f32, output = DType::f32;
  auto operator<=>(const MatmulKey&) const = default;
};

// One product, ready to run on one thread; each worker has its own arguments.
class MatmulPlan {
 public:
  MatmulPlan(const MatmulKey& key, const dnnl::engine& engine, int workers);
  std::int64_t scratch_bytes() const { return scratch_bytes_; }
  void run(int worker, const dnnl::stream& stream, const void* a, const void* b, void* out, void* scratch);

 private:
  using Arguments = std::unordered_map<int, dnnl::memory>;
  dnnl::matmul primitive_;
  std::int64_t scratch_bytes_ = 0;
  std::vector<Arguments> arguments_;
};

// A product cut into tiles, of which the last row and the last column may be smaller.
struct TileGrid {
  std::int64_t rows, columns;            // of the whole product
  std::int64_t tile_rows, tile_columns;  // of one tile

  std::int64_t row_tiles() const { return (rows + tile_rows - 1) / tile_rows; }
  std::int64_t column_tiles() const { return (columns + tile_columns - 1) / tile_columns; }
  std::int64_t rows_at(std::int64_t i) const { return std::min(tile_rows, rows - i * tile_rows); }
  std::int64_t columns_at(std::int64_t j) const { return std::min(tile_columns, columns - j * tile_columns); }
};

// The plans of a grid, by whether the tile is in the last row and in the last column.
using GridPlans = std::array<std::array<MatmulPlan*, 2>, 2>;

// The plans made so far. oneDNN compiles code for a new shape (0.1 to 3 ms), so none is made twice.
class CpuBackend::MatmulPlans {
 public:
  explicit MatmulPlans(int workers);
  // One plan for each extent that occurs in the grid; `key` says the rest. They are valid until the next
  // call.
  GridPlans find(MatmulKey key, const TileGrid& grid);

  const dnnl::stream& stream() const { return stream_; }
  // Whether bf16 products are faster as such than through f32.
  bool computes_bf16() const { return computes_bf16_; }
  // f32 copies of bf16 operands where they are not.
  Scratch a_copy, b_copy, out_copy;

 private:
  MatmulPlan& find(const MatmulKey& key);

  int workers_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  bool computes_bf16_;
  std::map<MatmulKey, MatmulPlan> plans_;
};

}  // namespace chorus
