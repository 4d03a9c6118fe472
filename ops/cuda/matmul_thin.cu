#include "ops/cuda/launch.cuh"
#include "ops/cuda/matmul_thin.h"
#include "ops/cuda/tensor_core.cuh"
#include "ops/cuda/visit_float.cuh"

// The time goes to reading and writing `out`: every thread moves 16 bytes of it at once, two steps ahead of what it computes.
// Nothing goes through shared memory: what a warp needs of b stays in its registers for all its rows, and a is in the L1
// cache, where the block's other warps want it too.

namespace chorus::cuda {

namespace {

constexpr int deepest = 32;       // K at most: with more, a thread holds too much for enough of them to run
constexpr int warp_columns = 32;  // four tiles of mma
constexpr int block_columns = threads_per_block / 32 * warp_columns;
constexpr int rows_per_step = 16;  // of mma
constexpr int steps_ahead = 2;     // whose accesses are under way
constexpr int rows_per_block = 128;

// What a thread moves at once.
struct Pack {
  __nv_bfloat16 element[8];
};

}  // namespace

struct ThinProduct {
  __nv_bfloat16* out;      // [rows, columns]
  const __nv_bfloat16* a;  // [rows, depth]
  const __nv_bfloat16* b;  // [depth, columns] or, transposed, [columns, depth]
  int rows, columns;       // columns: a multiple of 8
  int depth;               // even
  float scale;
};

// A step of 16 rows: what a lane reads for it.
template <int depth_steps>
struct ThinStep {
  Pack old[2];  // rows `line` and `line` + 8 of the step
  std::uint32_t a[depth_steps][4];
};

// depth_steps: K in steps of 16. A lane's columns in mma's four tiles are chosen to be neighbours in `out`: tile t's
// column 2 q + j is column 8 q + 2 t + j of the warp's.
template <int depth_steps, bool transpose_b>
__global__ void __launch_bounds__(threads_per_block) thin_product_kernel(ThinProduct p) {
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int quad = lane % 4, line = lane / 4;
  const int first_column = static_cast<int>(blockIdx.x) * block_columns + warp * warp_columns;
  const int own_column = first_column + 8 * quad;
  if (first_column >= p.columns) return;  // a whole warp
  const bool own = own_column < p.columns;
  const int first_row = static_cast<int>(blockIdx.y) * rows_per_block;
  const int end_row = min(first_row + rows_per_block, p.rows);

  const auto load = [&](int row) {
    ThinStep<depth_steps> step;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int at = row + 8 * half + line;
      step.old[half] = {};
      if (own && at < end_row)
        step.old[half] = load_vector<Pack>(p.out + static_cast<std::int64_t>(at) * p.columns + own_column);
    }
#pragma unroll
    for (int d = 0; d < depth_steps; ++d) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {  // both halves of the rows at the first eight of K, then at the others
        const int at = row + 8 * (i % 2) + line, k = 16 * d + 8 * (i / 2) + 2 * quad;
        step.a[d][i] = 0;
        if (at < end_row && k < p.depth)
          step.a[d][i] = load_vector<std::uint32_t>(p.a + static_cast<std::int64_t>(at) * p.depth + k);
      }
    }
    return step;
  };

  ThinStep<depth_steps> ahead[steps_ahead];
#pragma unroll
  for (int s = 0; s < steps_ahead; ++s) ahead[s] = load(first_row + s * rows_per_step);

  std::uint32_t b[depth_steps][4][2];
#pragma unroll
  for (int d = 0; d < depth_steps; ++d) {
#pragma unroll
    for (int tile = 0; tile < 4; ++tile) {
      const int column = first_column + 8 * (line / 2) + 2 * tile + line % 2;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int k = 16 * d + 8 * half + 2 * quad;
        b[d][tile][half] = 0;
        if (column >= p.columns || k >= p.depth) continue;
        if constexpr (transpose_b) {
          b[d][tile][half] =
              load_vector<std::uint32_t>(p.b + static_cast<std::int64_t>(column) * p.depth + k);
        } else {
          const __nv_bfloat16* at = p.b + static_cast<std::int64_t>(k) * p.columns + column;
          b[d][tile][half] = pack_bf16(static_cast<float>(at[0]), static_cast<float>(at[p.columns]));
        }
      }
    }
  }

  for (int row = first_row; row < end_row; row += steps_ahead * rows_per_step) {
#pragma unroll
    for (int s = 0; s < steps_ahead; ++s) {
      ThinStep<depth_steps> step = ahead[s];
      const int begin = row + s * rows_per_step;
      ahead[s] = load(begin + steps_ahead * rows_per_step);
      float sum[4][4] = {};
#pragma unroll
      for (int d = 0; d < depth_steps; ++d) {
#pragma unroll
        for (int tile = 0; tile < 4; ++tile)
          multiply_accumulate(sum[tile], step.a[d], b[d][tile][0], b[d][tile][1]);
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int at = begin + 8 * half + line;
        if (!own || at >= end_row) continue;
        Pack& pack = step.old[half];
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          pack.element[i] = static_cast<__nv_bfloat16>(static_cast<float>(pack.element[i]) +
                                                       p.scale * sum[i / 2][2 * half + i % 2]);
        }
        store_vector(p.out + static_cast<std::int64_t>(at) * p.columns + own_column, pack);
      }
    }
  }
}

bool is_thin(ConstTensor out, ConstTensor a, ConstTensor b, const MatmulOptions& options) {
  const auto aligned = [](ConstTensor x, std::uintptr_t bytes) {
    return reinterpret_cast<std::uintptr_t>(x.address()) % bytes == 0;
  };
  return options.accumulate && !options.transpose_a && a.dtype() == DType::bf16 &&
         out.dtype() == DType::bf16 && a.dim(1) <= deepest && a.dim(1) % 2 == 0 && out.dim(1) % 8 == 0 &&
         aligned(out, 16) && aligned(a, 4) && aligned(b, 4);
}

void multiply_thin(Tensor out, ConstTensor a, ConstTensor b, const MatmulOptions& options,
                   cudaStream_t stream) {
  const auto extent = [](std::int64_t n) { return static_cast<int>(n); };
  const ThinProduct product{.out = elements<__nv_bfloat16>(out),
                            .a = elements<__nv_bfloat16>(a),
                            .b = elements<__nv_bfloat16>(b),
                            .rows = extent(out.dim(0)),
                            .columns = extent(out.dim(1)),
                            .depth = extent(a.dim(1)),
                            .scale = options.scale};
  const auto run = [&](auto steps) {
    launch(options.transpose_b ? thin_product_kernel<steps(), true> : thin_product_kernel<steps(), false>,
           blocks(divide_up(out.dim(1), block_columns), divide_up(out.dim(0), rows_per_block)),
           threads_per_block, 0, stream, product);
  };
  if (product.depth <= 16) return run(std::integral_constant<int, 1>());
  run(std::integral_constant<int, 2>());
}

}  // namespace chorus::cuda
