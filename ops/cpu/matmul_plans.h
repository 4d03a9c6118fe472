#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include <dnnl.hpp>
#include <omp.h>

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

// oneDNN would start threads of its own and divide the sums by their number. While this lives, what it is given is
// computed by the caller alone.
class OneThreadInLibrary {
 public:
  OneThreadInLibrary() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThreadInLibrary() { omp_set_num_threads(before_); }
  OneThreadInLibrary(const OneThreadInLibrary&) = delete;
  OneThreadInLibrary& operator=(const OneThreadInLibrary&) = delete;

 private:
  int before_;
};

// The plans made so far. oneDNN compiles code for a new shape (0.1 to 3 ms), so none is made twice.
class CpuBackend::MatmulPlans {
 public:
  MatmulPlans(int workers, std::optional<Bf16Products> bf16_products);
  // One plan for each extent that occurs in the grid; `key` says the rest. They are valid until forget_many().
  GridPlans find(MatmulKey key, const TileGrid& grid);
  // Micro-batches of ever new sizes would otherwise fill the memory with code.
  void forget_many();

  const dnnl::stream& stream() const { return stream_; }
  Bf16Products bf16_products();

 private:
  MatmulPlan& find(const MatmulKey& key);

  int workers_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  std::optional<Bf16Products> bf16_products_;  // none: not yet asked for
  std::map<MatmulKey, MatmulPlan> plans_;
};

}  // namespace chorus
