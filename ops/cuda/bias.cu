#include "ops/cuda/column_sums.cuh"
#include "ops/cuda/cuda_backend.h"
#include "ops/cuda/visit_float.cuh"

namespace chorus {

namespace cuda {

// A block per row.
template <typename T, int width>
__global__ void __launch_bounds__(threads_per_block)
    add_bias_kernel(T* y, const T* bias, std::int64_t columns) {
  T* row = y + blockIdx.x * columns;
  for_each_in_row<width>(columns, [&](std::int64_t i) {
    float value[width], b[width];
    load_floats(value, row + i);
    load_floats(b, bias + i);
#pragma unroll
    for (int k = 0; k < width; ++k) value[k] += b[k];
    store_floats(row + i, value);
  });
}

template <typename T, int width>
__global__ void __launch_bounds__(threads_per_block)
    bias_slices_kernel(double* partials, const T* dy, std::int64_t rows, std::int64_t columns,
                       std::int64_t rows_per_slice) {
  sum_slice<width>(partials, rows, columns, rows_per_slice,
                   [&](double(&sum)[width], std::int64_t n, std::int64_t i) {
                     float d[width];
                     load_floats(d, dy + n * columns + i);
#pragma unroll
                     for (int k = 0; k < width; ++k) sum[k] += static_cast<double>(d[k]);
                   });
}

}  // namespace cuda

void CudaBackend::add_bias(Tensor y, ConstTensor bias) {
  const std::int64_t columns = y.dim(1);
  cuda::visit_float(y.dtype(), [&]<typename T>(T) {
    cuda::visit_width<T>(columns, {y.address(), bias.address()}, [&]<int width>(cuda::Width<width>) {
      cuda::launch(cuda::add_bias_kernel<T, width>, cuda::blocks(y.dim(0)),
                   cuda::threads_for(columns / width), 0, stream(), cuda::elements<T>(y),
                   cuda::elements<T>(bias), columns);
    });
  });
}

void CudaBackend::bias_backward(Tensor dbias, ConstTensor dy) {
  if (dy.empty()) return;
  const cuda::RowSlices slices(dy.dim(0));
  const std::int64_t columns = dy.dim(1);
  auto* partials =
      static_cast<double*>(workspace(slices.count() * columns * static_cast<std::int64_t>(sizeof(double))));
  cuda::visit_float(dy.dtype(), [&]<typename T>(T) {
    cuda::visit_width<T>(columns, {dy.address()}, [&]<int width>(cuda::Width<width>) {
      cuda::launch_column_sums<width>(cuda::bias_slices_kernel<T, width>, dbias.data<float>(), partials,
                                      slices, columns, stream(), cuda::elements<T>(dy));
    });
  });
}

}  // namespace chorus
