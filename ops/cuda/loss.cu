#include "ops/cuda/cuda_backend.h"
#include "ops/cuda/launch.cuh"
#include "ops/cuda/visit_float.cuh"

namespace chorus {

namespace cuda {

// The log of a sum of exponentials in one pass: what was added, relative to the exponential of the largest so
// far. NaN reaches the sum, though not the largest.
struct LogSum {
  float largest = -std::numeric_limits<float>::infinity();
  float sum = 0;

  // What to subtract before exp. Infinity minus infinity would be NaN, so nothing is subtracted from it: exp
  // then gives the right 0 or infinity.
  static __device__ __forceinline__ float base(float largest) {
    return fabsf(largest) == std::numeric_limits<float>::infinity() ? 0.0F : largest;
  }

  template <int count>
  __device__ __forceinline__ void add(const float (&x)[count]) {
    float larger = largest;
#pragma unroll
    for (int k = 0; k < count; ++k) larger = fmaxf(larger, x[k]);
    sum *= expf(largest - base(larger));
#pragma unroll
    for (int k = 0; k < count; ++k) sum += expf(x[k] - base(larger));
    largest = larger;
  }

  __device__ __forceinline__ float value() const { return base(largest) + logf(sum); }
};

struct LossMemory {
  float partial[threads_per_block / 32];
};

// A block per row.
template <int width>
__global__ void __launch_bounds__(threads_per_block)
    log_sum_exp_kernel(float* lse, const float* logits, std::int64_t columns) {
  const std::int64_t m = blockIdx.x;
  LogSum own;
  for_each_in_row<width>(columns, [&](std::int64_t i) {
    float x[width];
    load_floats(x, logits + m * columns + i);
    own.add(x);
  });
  float* partial = shared_memory<LossMemory>().partial;
  LogSum all;
  all.largest = block_max(own.largest, partial);
  all.sum = block_sum(own.sum * expf(own.largest - LogSum::base(all.largest)), partial);
  if (threadIdx.x == 0) lse[m] = all.value();
}

__global__ void __launch_bounds__(threads_per_block)
    combine_log_sum_exp_kernel(float* lse, const float* parts, std::int64_t count, std::int64_t rows) {
  for_each_pack<1>(rows, [&]<int n>(Width<n>, std::int64_t m) {
    LogSum all;
    for (std::int64_t p = 0; p < count; ++p) {
      const float x[1] = {parts[p * rows + m]};
      all.add(x);
    }
    lse[m] = all.value();
  });
}

__global__ void __launch_bounds__(threads_per_block)
    target_log_probability_kernel(float* out, const float* logits, const float* lse, const std::int32_t* rows,
                                  const std::int32_t* tokens, std::int64_t targets, std::int64_t height,
                                  std::int64_t columns, std::int64_t first) {
  for_each_pack<1>(targets, [&]<int n>(Width<n>, std::int64_t t) {
    const std::int64_t row = rows[t], column = tokens[t] - first;
    // A kernel cannot throw: a row outside the tensor gives NaN.
    if (row < 0 || row >= height) {
      out[t] = std::numeric_limits<float>::quiet_NaN();
    } else {
      out[t] = column >= 0 && column < columns ? logits[row * columns + column] - lse[row] : 0.0F;
    }
  });
}

// The first of the ascending rows that is not below m.
__device__ __forceinline__ std::int64_t lower_bound(const std::int32_t* rows, std::int64_t count,
                                                    std::int64_t m) {
  std::int64_t begin = 0, end = count;
  while (begin < end) {
    const std::int64_t middle = begin + (end - begin) / 2;
    rows[middle] < m ? begin = middle + 1 : end = middle;
  }
  return begin;
}

// A block per row.
template <typename T, int width>
__global__ void __launch_bounds__(threads_per_block)
    cross_entropy_backward_kernel(T* dlogits, const float* logits, const float* lse, const std::int32_t* rows,
                                  const std::int32_t* tokens, const float* weights, std::int64_t targets,
                                  std::int64_t columns, std::int64_t first, float scale) {
  const std::int64_t m = blockIdx.x;
  const float* x = logits + m * columns;
  T* dx = dlogits + m * columns;
  const std::int64_t begin = lower_bound(rows, targets, m), end = lower_bound(rows, targets, m + 1);
  if (begin == end) {
    constexpr float zeros[width] = {};
    for_each_in_row<width>(columns, [&](std::int64_t i) { store_floats(dx + i, zeros); });
    return;
  }
  const float normalizer = lse[m];
  float here = 0;
  for (std::int64_t t = begin; t < end; ++t) here += weights[t];
  for_each_in_row<width>(columns, [&](std::int64_t i) {
    float p[width];
    load_floats(p, x + i);
#pragma unroll
    for (int k = 0; k < width; ++k) p[k] = scale * (here * expf(p[k] - normalizer));
    store_floats(dx + i, p);
  });
  __syncthreads();  // the targets' columns are written again
  // Recomputed rather than corrected, so that a bf16 result is rounded once. The first of equal targets does
  // it.
  for (std::int64_t t = begin + threadIdx.x; t < end; t += blockDim.x) {
    const std::int64_t column = tokens[t] - first;
    if (column < 0 || column >= columns) continue;
    bool earlier = false;
    float own = 0;
    for (std::int64_t other = begin; other < end; ++other) {
      const bool equal = tokens[other] == tokens[t];
      own += equal ? weights[other] : 0.0F;
      earlier = earlier || (equal && other < t);
    }
    if (earlier) continue;
    const float p = here * expf(x[column] - normalizer);
    dx[column] = static_cast<T>(scale * (p - own));
  }
}

}  // namespace cuda

void CudaBackend::log_sum_exp(Tensor lse, ConstTensor logits) {
  const std::int64_t columns = logits.dim(1);
  cuda::visit_width<float>(columns, {logits.address()}, [&]<int width>(cuda::Width<width>) {
    cuda::launch(cuda::log_sum_exp_kernel<width>, cuda::blocks(logits.dim(0)),
                 cuda::threads_for(columns / width), sizeof(cuda::LossMemory), stream(), lse.data<float>(),
                 logits.data<float>(), columns);
  });
}

void CudaBackend::combine_log_sum_exp(Tensor lse, ConstTensor parts) {
  cuda::launch(cuda::combine_log_sum_exp_kernel, cuda::blocks_for(parts.dim(1)), cuda::threads_per_block, 0,
               stream(), lse.data<float>(), parts.data<float>(), parts.dim(0), parts.dim(1));
}

void CudaBackend::target_log_probability(Tensor out, ConstTensor logits, ConstTensor lse, ConstTensor rows,
                                         ConstTensor tokens, std::int64_t first) {
  cuda::launch(cuda::target_log_probability_kernel, cuda::blocks_for(rows.dim(0)), cuda::threads_per_block, 0,
               stream(), out.data<float>(), logits.data<float>(), lse.data<float>(),
               rows.data<std::int32_t>(), tokens.data<std::int32_t>(), rows.dim(0), logits.dim(0),
               logits.dim(1), first);
}

void CudaBackend::cross_entropy_backward(Tensor dlogits, ConstTensor logits, ConstTensor lse,
                                         ConstTensor rows, ConstTensor tokens, ConstTensor weights,
                                         std::int64_t first, double scale) {
  const std::int64_t columns = logits.dim(1);
  cuda::visit_float(dlogits.dtype(), [&]<typename T>(T) {
    const std::initializer_list<const void*> addresses = {dlogits.address(), logits.address()};
    cuda::visit_width<T>(columns, addresses, [&]<int width>(cuda::Width<width>) {
      cuda::launch(cuda::cross_entropy_backward_kernel<T, width>, cuda::blocks(logits.dim(0)),
                   cuda::threads_for(columns / width), 0, stream(), cuda::elements<T>(dlogits),
                   logits.data<float>(), lse.data<float>(), rows.data<std::int32_t>(),
                   tokens.data<std::int32_t>(), weights.data<float>(), rows.dim(0), columns, first,
                   static_cast<float>(scale));
    });
  });
}

}  // namespace chorus
