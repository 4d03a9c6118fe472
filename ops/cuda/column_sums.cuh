#pragma once

#include "ops/cuda/launch.cuh"

namespace chorus::cuda {

// Sums over rows, in two kernels: of slices of the rows, then over the slices. How rows are sliced follows from their number
// alone, so that the sums come out the same on every GPU.
struct RowSlices {
  static constexpr std::int64_t least_rows = 32, most_slices = 256;

  explicit RowSlices(std::int64_t all)
      : rows(all), rows_per_slice(std::max(least_rows, divide_up(all, most_slices))) {}
  std::int64_t count() const { return divide_up(rows, rows_per_slice); }

  std::int64_t rows, rows_per_slice;
};

// partials[s, i] = sum over the rows n of slice s = blockIdx.y of what add(sum, n, i) adds to sum[width]; a thread owns
// `width` columns of one slice.                             partials [slices, columns]
template <int width, typename Add>
__device__ __forceinline__ void sum_slice(double* partials, std::int64_t rows, std::int64_t columns,
                                          std::int64_t rows_per_slice, const Add& add) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * width;
  if (i >= columns) return;
  const std::int64_t begin = blockIdx.y * rows_per_slice;
  const std::int64_t end = begin + rows_per_slice < rows ? begin + rows_per_slice : rows;
  double sum[width] = {};
  for (std::int64_t n = begin; n < end; ++n) add(sum, n, i);
#pragma unroll
  for (int k = 0; k < width; ++k) partials[blockIdx.y * columns + i + k] = sum[k];
}

// sums[i] += the partials of column i, in their order.
template <typename To>
__global__ void __launch_bounds__(threads_per_block)
    add_slices_kernel(To* sums, const double* partials, std::int64_t slices, std::int64_t columns) {
  for_each_pack<1>(columns, [&]<int n>(Width<n>, std::int64_t i) {
    double sum = 0;
    for (std::int64_t s = 0; s < slices; ++s) sum += partials[s * columns + i];
    sums[i] = static_cast<To>(static_cast<double>(sums[i]) + sum);
  });
}

// Both kernels, in `stream`. `kernel` takes partials, arguments…, rows, columns and rows per slice.
template <int width, typename Kernel, typename... Arguments>
void launch_column_sums(Kernel kernel, float* sums, double* partials, const RowSlices& slices,
                        std::int64_t columns, cudaStream_t stream, const Arguments&... arguments) {
  const std::int64_t packs = columns / width;
  const int threads = threads_for(packs);
  launch(kernel, blocks(divide_up(packs, threads), slices.count()), threads, 0, stream, partials,
         arguments..., slices.rows, columns, slices.rows_per_slice);
  launch(add_slices_kernel<float>, blocks_for(columns), threads_per_block, 0, stream, sums, partials,
         slices.count(), columns);
}

}  // namespace chorus::cuda
