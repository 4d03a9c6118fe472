#include "ops/cuda/column_sums.cuh"
#include "ops/cuda/cuda_backend.h"
#include "ops/cuda/visit_float.cuh"

namespace chorus {

namespace cuda {

struct NormMemory {
  float partial[threads_per_block / 32];
};

// A block per row.
template <typename T, int width>
__global__ void __launch_bounds__(threads_per_block)
    rms_norm_kernel(T* out, float* rstd, const T* x, const T* weight, std::int64_t columns, float epsilon) {
  const std::int64_t n = blockIdx.x;
  const T* row = x + n * columns;
  float squares = 0;
  for_each_in_row<width>(columns, [&](std::int64_t i) {
    float value[width];
    load_floats(value, row + i);
#pragma unroll
    for (int k = 0; k < width; ++k) squares += value[k] * value[k];
  });
  squares = block_sum(squares, shared_memory<NormMemory>().partial);
  const float r = 1.0F / sqrtf(squares / static_cast<float>(columns) + epsilon);
  if (threadIdx.x == 0) rstd[n] = r;
  for_each_in_row<width>(columns, [&](std::int64_t i) {
    float value[width], w[width];
    load_floats(value, row + i);
    load_floats(w, weight + i);
#pragma unroll
    for (int k = 0; k < width; ++k) value[k] *= r * w[k];
    store_floats(out + n * columns + i, value);
  });
}

// A block per row.
template <typename T, int width>
__global__ void __launch_bounds__(threads_per_block)
    rms_norm_backward_kernel(T* dx, const T* dout, const T* x, const T* weight, const float* rstd,
                             std::int64_t columns) {
  const std::int64_t n = blockIdx.x, begin = n * columns;
  float dot = 0;
  for_each_in_row<width>(columns, [&](std::int64_t i) {
    float d[width], value[width], w[width];
    load_floats(d, dout + begin + i);
    load_floats(value, x + begin + i);
    load_floats(w, weight + i);
#pragma unroll
    for (int k = 0; k < width; ++k) dot += d[k] * w[k] * value[k];
  });
  dot = block_sum(dot, shared_memory<NormMemory>().partial);
  const float r = rstd[n], along = r * r * dot / static_cast<float>(columns);
  for_each_in_row<width>(columns, [&](std::int64_t i) {
    float d[width], value[width], w[width], sum[width];
    load_floats(d, dout + begin + i);
    load_floats(value, x + begin + i);
    load_floats(w, weight + i);
    load_floats(sum, dx + begin + i);
#pragma unroll
    for (int k = 0; k < width; ++k) sum[k] += r * (d[k] * w[k] - value[k] * along);
    store_floats(dx + begin + i, sum);
  });
}

template <typename T, int width>
__global__ void __launch_bounds__(threads_per_block)
    rms_norm_weight_slices_kernel(double* partials, const T* dout, const T* x, const float* rstd,
                                  std::int64_t rows, std::int64_t columns, std::int64_t rows_per_slice) {
  sum_slice<width>(partials, rows, columns, rows_per_slice,
                   [&](double(&sum)[width], std::int64_t n, std::int64_t i) {
                     float d[width], value[width];
                     load_floats(d, dout + n * columns + i);
                     load_floats(value, x + n * columns + i);
                     const float r = rstd[n];
#pragma unroll
                     for (int k = 0; k < width; ++k) sum[k] += static_cast<double>(d[k] * value[k] * r);
                   });
}

}  // namespace cuda

void CudaBackend::rms_norm(Tensor out, Tensor rstd, ConstTensor x, ConstTensor weight, double epsilon) {
  const std::int64_t columns = x.dim(1);
  cuda::visit_float(x.dtype(), [&]<typename T>(T) {
    const std::initializer_list<const void*> addresses = {out.address(), x.address(), weight.address()};
    cuda::visit_width<T>(columns, addresses, [&]<int width>(cuda::Width<width>) {
      cuda::launch(cuda::rms_norm_kernel<T, width>, cuda::blocks(x.dim(0)),
                   cuda::threads_for(columns / width), sizeof(cuda::NormMemory), stream(),
                   cuda::elements<T>(out), rstd.data<float>(), cuda::elements<T>(x),
                   cuda::elements<T>(weight), columns, static_cast<float>(epsilon));
    });
  });
}

void CudaBackend::rms_norm_backward(Tensor dx, ConstTensor dout, ConstTensor x, ConstTensor weight,
                                    ConstTensor rstd) {
  const std::int64_t columns = x.dim(1);
  cuda::visit_float(x.dtype(), [&]<typename T>(T) {
    const std::initializer_list<const void*> addresses = {dx.address(), dout.address(), x.address(),
                                                          weight.address()};
    cuda::visit_width<T>(columns, addresses, [&]<int width>(cuda::Width<width>) {
      cuda::launch(cuda::rms_norm_backward_kernel<T, width>, cuda::blocks(x.dim(0)),
                   cuda::threads_for(columns / width), sizeof(cuda::NormMemory), stream(),
                   cuda::elements<T>(dx), cuda::elements<T>(dout), cuda::elements<T>(x),
                   cuda::elements<T>(weight), rstd.data<float>(), columns);
    });
  });
}

void CudaBackend::rms_norm_weight_backward(Tensor dweight, ConstTensor dout, ConstTensor x,
                                           ConstTensor rstd) {
  if (x.empty()) return;
  const cuda::RowSlices slices(x.dim(0));
  const std::int64_t columns = x.dim(1);
  auto* partials =
      static_cast<double*>(workspace(slices.count() * columns * static_cast<std::int64_t>(sizeof(double))));
  cuda::visit_float(x.dtype(), [&]<typename T>(T) {
    cuda::visit_width<T>(columns, {dout.address(), x.address()}, [&]<int width>(cuda::Width<width>) {
      cuda::launch_column_sums<width>(cuda::rms_norm_weight_slices_kernel<T, width>, dweight.data<float>(),
                                      partials, slices, columns, stream(), cuda::elements<T>(dout),
                                      cuda::elements<T>(x), rstd.data<float>());
    });
  });
}

}  // namespace chorus
