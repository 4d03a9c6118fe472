#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>

#include "ops/cpu/bf16_products.h"
#include "ops/cpu/matmul_plan.h"

namespace chorus {

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
class MatmulPlans {
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
