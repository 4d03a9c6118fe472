#include "ops/cuda/cuda_backend.h"
#include "ops/cuda/launch.cuh"
#include "ops/cuda/visit_float.cuh"

namespace chorus {

namespace cuda {

// A block per token. A thread turns `width` pairs (x[j], x[j + half]) of one head.
template <typename T, int width>
__global__ void __launch_bounds__(threads_per_block)
    rope_kernel(T* x, const std::int32_t* positions, const float* cos_sin, std::int64_t length,
                unsigned heads, unsigned half, float direction) {
  const std::int64_t n = blockIdx.x, position = positions[n];
  // A kernel cannot throw: behind the table's end there are no angles.
  const bool known = position >= 0 && position < length;
  const float* cosines = cos_sin + (known ? position : 0) * 2 * half;
  const unsigned packs = half / width;
  for (unsigned i = threadIdx.x; i < heads * packs; i += blockDim.x) {
    const unsigned head = i / packs, j = i % packs * width;
    T* first = x + (n * heads + head) * 2 * half + j;
    float a[width], b[width], cosine[width], sine[width];
    load_floats(a, first);
    load_floats(b, first + half);
    load_floats(cosine, cosines + j);
    load_floats(sine, cosines + half + j);
#pragma unroll
    for (int k = 0; k < width; ++k) {
      const float c = known ? cosine[k] : std::numeric_limits<float>::quiet_NaN(), s = direction * sine[k];
      const float turned = a[k] * c - b[k] * s;
      b[k] = b[k] * c + a[k] * s;
      a[k] = turned;
    }
    store_floats(first, a);
    store_floats(first + half, b);
  }
}

}  // namespace cuda

void CudaBackend::rope(Tensor x, ConstTensor positions, ConstTensor cos_sin, Rotation rotation) {
  if (x.empty()) return;
  require(cos_sin.dim(0) > 0, "rope: the table of angles is empty");
  const std::int64_t heads = x.dim(1), half = x.dim(2) / 2;
  cuda::visit_float(x.dtype(), [&]<typename T>(T) {
    cuda::visit_width<T>(half, {x.address(), cos_sin.address()}, [&]<int width>(cuda::Width<width>) {
      cuda::launch(cuda::rope_kernel<T, width>, cuda::blocks(x.dim(0)),
                   cuda::threads_for(heads * (half / width)), 0, stream(), cuda::elements<T>(x),
                   positions.data<std::int32_t>(), cos_sin.data<float>(), cos_sin.dim(0),
                   static_cast<unsigned>(heads), static_cast<unsigned>(half),
                   rotation == Rotation::forward ? 1.0F : -1.0F);
    });
  });
}

}  // namespace chorus
