#include "ops/cuda/cuda_backend.h"
#include "ops/cuda/launch.cuh"
#include "ops/cuda/visit_float.cuh"

namespace chorus {

namespace cuda {

// exp overflows to infinity for very negative x, which gives the right limit, 0.
__device__ __forceinline__ float sigmoid(float x) { return 1.0F / (1.0F + expf(-x)); }

template <typename T, int width>
__global__ void __launch_bounds__(threads_per_block)
    swiglu_kernel(T* out, const T* gate, const T* up, std::int64_t count) {
  for_each_pack<width>(count, [&]<int n>(Width<n>, std::int64_t i) {
    float g[n], u[n];
    load_floats(g, gate + i);
    load_floats(u, up + i);
#pragma unroll
    for (int k = 0; k < n; ++k) u[k] *= g[k] * sigmoid(g[k]);
    store_floats(out + i, u);
  });
}

// With s = sigmoid(gate):  dgate = dout · up · s · (1 + gate · (1 - s)),  dup = dout · gate · s
template <typename T, int width>
__global__ void __launch_bounds__(threads_per_block)
    swiglu_backward_kernel(T* dgate, T* dup, const T* dout, const T* gate, const T* up, std::int64_t count) {
  for_each_pack<width>(count, [&]<int n>(Width<n>, std::int64_t i) {
    float d[n], g[n], u[n];
    load_floats(d, dout + i);
    load_floats(g, gate + i);
    load_floats(u, up + i);
#pragma unroll
    for (int k = 0; k < n; ++k) {
      const float s = sigmoid(g[k]), ds = d[k] * s;
      d[k] = ds * u[k] * (1.0F + g[k] * (1.0F - s));
      u[k] = ds * g[k];
    }
    store_floats(dgate + i, d);
    store_floats(dup + i, u);
  });
}

}  // namespace cuda

void CudaBackend::swiglu(Tensor out, ConstTensor gate, ConstTensor up) {
  cuda::visit_float(out.dtype(), [&]<typename T>(T) {
    cuda::visit_width<T>(0, {out.address(), gate.address(), up.address()},
                         [&]<int width>(cuda::Width<width>) {
                           cuda::launch(cuda::swiglu_kernel<T, width>,
                                        cuda::blocks_for(cuda::divide_up(out.elements(), width)),
                                        cuda::threads_per_block, 0, stream(), cuda::elements<T>(out),
                                        cuda::elements<T>(gate), cuda::elements<T>(up), out.elements());
                         });
  });
}

void CudaBackend::swiglu_backward(Tensor dgate, Tensor dup, ConstTensor dout, ConstTensor gate,
                                  ConstTensor up) {
  cuda::visit_float(dout.dtype(), [&]<typename T>(T) {
    cuda::visit_width<T>(0, {dgate.address(), dup.address(), dout.address(), gate.address(), up.address()},
                         [&]<int width>(cuda::Width<width>) {
                           cuda::launch(cuda::swiglu_backward_kernel<T, width>,
                                        cuda::blocks_for(cuda::divide_up(dout.elements(), width)),
                                        cuda::threads_per_block, 0, stream(), cuda::elements<T>(dgate),
                                        cuda::elements<T>(dup), cuda::elements<T>(dout),
                                        cuda::elements<T>(gate), cuda::elements<T>(up), dout.elements());
                         });
  });
}

}  // namespace chorus
