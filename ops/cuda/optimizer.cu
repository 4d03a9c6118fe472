#include <cmath>

#include "ops/cuda/cuda_backend.h"
#include "ops/cuda/launch.cuh"
#include "ops/cuda/visit_float.cuh"

namespace chorus {

namespace cuda {

struct SumMemory {
  double partial[threads_per_block / 32];
};

// sums[block] = sum of x² over the block's elements. A product of two floats is exact in double.
template <int width>
__global__ void __launch_bounds__(threads_per_block)
    sum_of_squares_kernel(double* sums, const float* x, std::int64_t count) {
  double sum = 0;
  for_each_pack<width>(count, [&]<int n>(Width<n>, std::int64_t i) {
    float value[n];
    load_floats(value, x + i);
#pragma unroll
    for (int k = 0; k < n; ++k) sum += static_cast<double>(value[k]) * static_cast<double>(value[k]);
  });
  sum = block_sum(sum, shared_memory<SumMemory>().partial);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// One block.
__global__ void __launch_bounds__(threads_per_block)
    sum_kernel(float* out, const double* sums, std::int64_t count) {
  double sum = 0;
  for_each_in_row<1>(count, [&](std::int64_t i) { sum += sums[i]; });
  sum = block_sum(sum, shared_memory<SumMemory>().partial);
  if (threadIdx.x == 0) *out = static_cast<float>(sum);
}

// The bias corrections are part of `step` and `variance_scale`:
//   value -= decay · value + step · m / (sqrt(v · variance_scale) + epsilon)
struct AdamW {
  float step, variance_scale, decay, beta1, rest1, beta2, rest2, epsilon, gradient_scale;
};

template <int width>
__global__ void __launch_bounds__(threads_per_block)
    adamw_kernel(float* value, float* m, float* v, const float* gradient, std::int64_t count, AdamW o) {
  for_each_pack<width>(count, [&]<int n>(Width<n>, std::int64_t i) {
    float x[n], first[n], second[n], g[n];
    load_floats(x, value + i);
    load_floats(first, m + i);
    load_floats(second, v + i);
    load_floats(g, gradient + i);
#pragma unroll
    for (int k = 0; k < n; ++k) {
      const float scaled = o.gradient_scale * g[k];
      first[k] = o.beta1 * first[k] + o.rest1 * scaled;
      second[k] = o.beta2 * second[k] + o.rest2 * scaled * scaled;
      x[k] -= o.decay * x[k] + o.step * first[k] / (sqrtf(second[k] * o.variance_scale) + o.epsilon);
    }
    store_floats(value + i, x);
    store_floats(m + i, first);
    store_floats(v + i, second);
  });
}

}  // namespace cuda

// Which elements are added by whom follows from their number and alignment alone, so that the sum is the same
// on every GPU.
void CudaBackend::sum_of_squares(Tensor out, ConstTensor x) {
  cuda::visit_width<float>(0, {x.address()}, [&]<int width>(cuda::Width<width>) {
    const std::int64_t packs_per_block = 4 * cuda::threads_per_block;
    const std::int64_t parts =
        std::clamp<std::int64_t>(cuda::divide_up(x.elements(), width * packs_per_block), 1, 1024);
    auto* sums = static_cast<double*>(workspace(parts * static_cast<std::int64_t>(sizeof(double))));
    cuda::launch(cuda::sum_of_squares_kernel<width>, cuda::blocks(parts), cuda::threads_per_block,
                 sizeof(cuda::SumMemory), stream(), sums, x.data<float>(), x.elements());
    cuda::launch(cuda::sum_kernel, cuda::blocks(1), cuda::threads_per_block, sizeof(cuda::SumMemory),
                 stream(), out.data<float>(), sums, parts);
  });
}

void CudaBackend::adamw(Tensor value, Tensor m, Tensor v, ConstTensor gradient, const AdamWOptions& options) {
  const auto t = static_cast<double>(options.step);
  const auto narrow = [](double x) { return static_cast<float>(x); };
  const cuda::AdamW constants{
      .step = narrow(options.learning_rate / (1.0 - std::pow(options.beta1, t))),
      .variance_scale = narrow(1.0 / (1.0 - std::pow(options.beta2, t))),
      .decay = narrow(options.learning_rate * options.weight_decay),
      .beta1 = narrow(options.beta1),
      .rest1 = narrow(1.0 - options.beta1),
      .beta2 = narrow(options.beta2),
      .rest2 = narrow(1.0 - options.beta2),
      .epsilon = narrow(options.epsilon),
      .gradient_scale = narrow(options.gradient_scale),
  };
  const std::initializer_list<const void*> addresses = {value.address(), m.address(), v.address(),
                                                        gradient.address()};
  cuda::visit_width<float>(0, addresses, [&]<int width>(cuda::Width<width>) {
    cuda::launch(cuda::adamw_kernel<width>, cuda::blocks_for(cuda::divide_up(value.elements(), width)),
                 cuda::threads_per_block, 0, stream(), value.data<float>(), m.data<float>(), v.data<float>(),
                 gradient.data<float>(), value.elements(), constants);
  });
}

}  // namespace chorus
