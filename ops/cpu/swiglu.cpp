#include "ops/cpu/cpu_backend.h"
#include "ops/cpu/exponential.h"
#include "ops/cpu/parallel_for.h"
#include "ops/cpu/visit_float.h"

namespace chorus {

void CpuBackend::swiglu(Tensor out, ConstTensor gate, ConstTensor up) {
  visit_float(out.dtype(), [&]<typename T>(T) {
    T* to = out.data<T>();
    const T* gates = gate.data<T>();
    const T* ups = up.data<T>();
    parallel_chunks(threads_, out.elements(), elements_per_chunk, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) {
        const auto g = static_cast<float>(gates[i]);
        store(to[i], g * sigmoid(g) * static_cast<float>(ups[i]));
      }
    });
  });
}

void CpuBackend::swiglu_backward(Tensor dgate, Tensor dup, ConstTensor dout, ConstTensor gate,
                                 ConstTensor up) {
  visit_float(dout.dtype(), [&]<typename T>(T) {
    T* to_gate = dgate.data<T>();
    T* to_up = dup.data<T>();
    const T* d = dout.data<T>();
    const T* gates = gate.data<T>();
    const T* ups = up.data<T>();
    parallel_chunks(threads_, dout.elements(), elements_per_chunk, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) {
        const auto g = static_cast<float>(gates[i]), u = static_cast<float>(ups[i]);
        const auto gradient = static_cast<float>(d[i]);
        const float s = sigmoid(g);
        store(to_gate[i], gradient * u * s * (1.0F + g * (1.0F - s)));
        store(to_up[i], gradient * g * s);
      }
    });
  });
}

}  // namespace chorus
