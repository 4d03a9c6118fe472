#include <array>

#include "ops/cpu/cpu_backend.h"
#include "ops/cpu/parallel_for.h"
#include "ops/cpu/visit_float.h"

namespace chorus {

void CpuBackend::add_bias(Tensor y, ConstTensor bias) {
  const std::int64_t width = y.dim(1);
  visit_float(y.dtype(), [&]<typename T>(T) {
    const T* b = bias.data<T>();
    parallel_chunks(threads_, y.dim(0), rows_per_chunk(width), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        T* row = y.data<T>() + n * width;
#pragma omp simd
        for (std::int64_t i = 0; i < width; ++i)
          store(row[i], static_cast<float>(row[i]) + static_cast<float>(b[i]));
      }
    });
  });
}

// Each thread owns some columns and walks over all tokens.
void CpuBackend::bias_backward(Tensor dbias, ConstTensor dy) {
  constexpr std::int64_t columns = 64;
  const std::int64_t count = dy.dim(0), width = dy.dim(1);
  float* to = dbias.data<float>();
  visit_float(dy.dtype(), [&]<typename T>(T) {
    const T* d = dy.data<T>();
    parallel_chunks(threads_, width, columns, [&](std::int64_t begin, std::int64_t end) {
      std::array<double, columns> sums{};
      for (std::int64_t n = 0; n < count; ++n) {
        const T* row = d + n * width + begin;
#pragma omp simd
        for (std::int64_t i = 0; i < end - begin; ++i)
          sums[static_cast<std::size_t>(i)] += static_cast<double>(static_cast<float>(row[i]));
      }
      for (std::int64_t i = begin; i < end; ++i) {
        to[i] = static_cast<float>(static_cast<double>(to[i]) + sums[static_cast<std::size_t>(i - begin)]);
      }
    });
  });
}

}  // namespace chorus
