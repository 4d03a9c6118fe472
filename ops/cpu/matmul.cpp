#include <algorithm>
#include <array>

#include "ops/cpu/cpu_backend.h"
#include "ops/cpu/matmul_plans.h"
#include "ops/cpu/parallel_for.h"
#include "ops/cpu/visit_float.h"

namespace chorus {

namespace {

// The tiles follow from the shape alone, never from the number of threads: the library's order of summation
// depends on the shape that it is given. 256 x 512 runs at full speed (and a narrow tile avoids the library's
// slow path for wide untransposed b); smaller tiles where there would be fewer than eight.
TileGrid grid_for(std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t enough = 8;
  TileGrid grid{rows, columns, 256, 512};
  if (grid.row_tiles() * grid.column_tiles() < enough) grid.tile_rows = 128;
  if (grid.row_tiles() * grid.column_tiles() < enough) grid.tile_columns = 256;
  return grid;
}

// Where operands are widened, the inner extent is cut into equal pieces of at most so much: what is widened of both, and
// the tile of sums, stay in a core's cache.
std::int64_t widened_piece(std::int64_t inner) {
  constexpr std::int64_t most = 512, lanes = 16;
  const std::int64_t pieces = (inner + most - 1) / most;
  return std::min(inner, ((inner + pieces - 1) / pieces + lanes - 1) / lanes * lanes);
}

// An operand of a product: indices along its outer extent (rows of op(a), columns of op(b)) and along the inner one.
struct Operand {
  const char* data;
  DType dtype;
  std::int64_t leading;
  bool inner_is_contiguous;

  Operand(const ConstTensor& tensor, bool inner_is_contiguous)
      : data(static_cast<const char*>(tensor.address())),
        dtype(tensor.dtype()),
        leading(tensor.dim(1)),
        inner_is_contiguous(inner_is_contiguous) {}

  const char* at(std::int64_t outer, std::int64_t inner) const {
    const std::int64_t row = inner_is_contiguous ? outer : inner,
                       column = inner_is_contiguous ? inner : outer;
    return data + (row * leading + column) * bytes_per_element(dtype);
  }
};

// panel = a part of a bf16 operand, in the operand's layout, rows `step` floats apart.
void widen(float* panel, std::int64_t step, const Operand& from, std::int64_t outer, std::int64_t outer_count,
           std::int64_t inner, std::int64_t inner_count) {
  const auto* row = reinterpret_cast<const bfloat16*>(from.at(outer, inner));
  const std::int64_t rows = from.inner_is_contiguous ? outer_count : inner_count;
  const std::int64_t width = from.inner_is_contiguous ? inner_count : outer_count;
  for (std::int64_t i = 0; i < rows; ++i, row += from.leading, panel += step) {
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) panel[j] = static_cast<float>(row[j]);
  }
}

// out = scale · product (+ out). oneDNN can do this too, but takes ten times as long for bf16.
template <typename T>
void store_scaled(T* out, std::int64_t out_stride, const float* product, std::int64_t product_stride,
                  std::int64_t rows, std::int64_t columns, const MatmulOptions& options) {
  const float scale = options.scale;
  const bool accumulate = options.accumulate;
  for (std::int64_t i = 0; i < rows; ++i) {
    T* to = out + i * out_stride;
    const float* from = product + i * product_stride;
#pragma omp simd
    for (std::int64_t j = 0; j < columns; ++j) {
      store(to[j], scale * from[j] + (accumulate ? static_cast<float>(to[j]) : 0.0F));
    }
  }
}

// A product and how it is cut: into tiles and, where operands are widened, into pieces of the inner extent.
struct CutProduct {
  Tensor out;
  Operand left, right;
  MatmulOptions options;
  bool widened;
  bool beside;  // a tile that is scaled or rounded in the end is computed beside `out`, and then stored
  TileGrid grid;
  std::int64_t inner, piece, pieces;
  std::int64_t left_step, right_step;  // floats between the rows of what is widened

  CutProduct(const Tensor& out, const ConstTensor& a, const ConstTensor& b, const MatmulOptions& options,
             bool widened)
      : out(out),
        left(a, !options.transpose_a),
        right(b, options.transpose_b),
        options(options),
        widened(widened),
        beside(options.scale != 1.0F || (widened && out.dtype() != DType::f32)),
        grid(grid_for(out.dim(0), out.dim(1))),
        inner(a.dim(options.transpose_a ? 0 : 1)),
        piece(widened ? widened_piece(inner) : inner),
        pieces((inner + piece - 1) / piece),
        left_step(left.inner_is_contiguous ? piece : grid.tile_rows),
        right_step(right.inner_is_contiguous ? piece : grid.tile_columns) {}

  MatmulKey key(std::int64_t length, bool accumulate) const {
    return {.k = length,
            .a_leading = widened ? left_step : left.leading,
            .b_leading = widened ? right_step : right.leading,
            .out_leading = beside ? grid.tile_columns : grid.columns,
            .transpose_a = options.transpose_a,
            .transpose_b = options.transpose_b,
            .accumulate = accumulate,
            .input = widened ? DType::f32 : left.dtype,
            .output = beside ? DType::f32 : out.dtype()};
  }
};

// The plans of the pieces of a product. Those behind the first add to it, and the last may be shorter.
class PiecePlans {
 public:
  PiecePlans(const CutProduct& product, MatmulPlans& made) : last_piece_(product.pieces - 1) {
    const std::int64_t rest = product.inner - last_piece_ * product.piece;
    first_ =
        made.find(product.key(product.piece, product.options.accumulate && !product.beside), product.grid);
    if (product.pieces > 2) middle_ = made.find(product.key(product.piece, true), product.grid);
    if (product.pieces > 1) last_ = made.find(product.key(rest, true), product.grid);
    for (const GridPlans& plans : {first_, middle_, last_}) {
      for (const auto& row : plans) {
        for (const MatmulPlan* plan : row)
          scratch_bytes_ = std::max(scratch_bytes_, plan ? plan->scratch_bytes() : 0);
      }
    }
  }

  const GridPlans& of(std::int64_t piece) const {
    return piece == 0 ? first_ : piece == last_piece_ ? last_ : middle_;
  }
  std::int64_t scratch_bytes() const { return scratch_bytes_; }

 private:
  std::int64_t last_piece_;
  GridPlans first_{}, middle_{}, last_{};
  std::int64_t scratch_bytes_ = 0;
};

// A thread's working memory for one tile.
struct TileMemory {
  float *product, *left, *right, *library;
};

TileMemory take_tile_memory(ScratchCutter& cutter, const CutProduct& product, std::int64_t library_bytes) {
  const TileGrid& grid = product.grid;
  return {.product = cutter.take(product.beside ? grid.tile_rows * grid.tile_columns : 0),
          .left = cutter.take(product.widened ? grid.tile_rows * product.piece : 0),
          .right = cutter.take(product.widened ? grid.tile_columns * product.piece : 0),
          .library = cutter.take((library_bytes + 3) / 4)};
}

// Row i and column j of the grid, by one worker.
void compute_tile(const CutProduct& product, std::int64_t i, std::int64_t j, const PiecePlans& plans,
                  const TileMemory& memory, int worker, const dnnl::stream& stream) {
  const Operand &left = product.left, &right = product.right;
  const TileGrid& grid = product.grid;
  const std::int64_t row = i * grid.tile_rows, column = j * grid.tile_columns;
  char* target = static_cast<char*>(product.out.address()) +
                 (row * grid.columns + column) * bytes_per_element(product.out.dtype());
  void* result = product.beside ? static_cast<void*>(memory.product) : target;
  for (std::int64_t p = 0; p < product.pieces; ++p) {
    const std::int64_t begin = p * product.piece, length = std::min(product.piece, product.inner - begin);
    const void *left_piece = left.at(row, begin), *right_piece = right.at(column, begin);
    if (product.widened) {
      widen(memory.left, product.left_step, left, row, grid.rows_at(i), begin, length);
      widen(memory.right, product.right_step, right, column, grid.columns_at(j), begin, length);
      left_piece = memory.left;
      right_piece = memory.right;
    }
    plans.of(p)[i == grid.row_tiles() - 1][j == grid.column_tiles() - 1]->run(
        worker, stream, left_piece, right_piece, result, memory.library);
  }
  if (!product.beside) return;
  visit_float(product.out.dtype(), [&]<typename T>(T) {
    store_scaled(reinterpret_cast<T*>(target), grid.columns, memory.product, grid.tile_columns,
                 grid.rows_at(i), grid.columns_at(j), product.options);
  });
}

}  // namespace

void CpuBackend::matmul(Tensor out, ConstTensor a, ConstTensor b, MatmulOptions options) {
  if (out.empty()) return;
  if (a.empty()) {
    if (!options.accumulate) fill(out, 0);
    return;
  }
  const bool widened =
      a.dtype() == DType::bf16 && matmul_plans_->bf16_products() == Bf16Products::through_f32;
  const CutProduct product(out, a, b, options, widened);
  const TileGrid& grid = product.grid;

  const OneThreadInLibrary guard;
  matmul_plans_->forget_many();
  const PiecePlans plans(product, *matmul_plans_);
  ScratchCutter counted;
  take_tile_memory(counted, product, plans.scratch_bytes());
  const std::int64_t floats = counted.used();
  reserve_scratch(floats * static_cast<std::int64_t>(sizeof(float)));

  parallel_tasks(threads_, grid.row_tiles() * grid.column_tiles(), [&](std::int64_t task, int worker) {
    ScratchCutter cutter(scratch_[static_cast<std::size_t>(worker)].floats(floats));
    const TileMemory memory = take_tile_memory(cutter, product, plans.scratch_bytes());
    compute_tile(product, task % grid.row_tiles(), task / grid.row_tiles(), plans, memory, worker,
                 matmul_plans_->stream());
  });
}

}  // namespace chorus
