#include <algorithm>
#include <array>
#include <cmath>

#include "ops/cpu/cpu_backend.h"
#include "ops/cpu/parallel_for.h"
#include "ops/cpu/visit_float.h"

namespace chorus {

namespace {

template <typename T>
float sum_of_squares(const T* x, std::int64_t width) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < width; ++i) sum += static_cast<float>(x[i]) * static_cast<float>(x[i]);
  return sum;
}

template <typename T>
float sum_of_products(const T* a, const T* b, const T* c, std::int64_t width) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < width; ++i) {
    sum += static_cast<float>(a[i]) * static_cast<float>(b[i]) * static_cast<float>(c[i]);
  }
  return sum;
}

}  // namespace

void CpuBackend::rms_norm(Tensor out, Tensor rstd, ConstTensor x, ConstTensor weight, double epsilon) {
  const std::int64_t width = x.dim(1);
  float* inverse = rstd.data<float>();
  visit_float(x.dtype(), [&]<typename T>(T) {
    const T* w = weight.data<T>();
    parallel_chunks(threads_, x.dim(0), rows_per_chunk(width), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const T* row = x.data<T>() + n * width;
        T* to = out.data<T>() + n * width;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t i = 0; i < width; ++i)
          sum += static_cast<float>(row[i]) * static_cast<float>(row[i]);
        const double mean = static_cast<double>(sum) / static_cast<double>(width);
        const auto r = static_cast<float>(1.0 / std::sqrt(mean + epsilon));
        inverse[n] = r;
#pragma omp simd
        for (std::int64_t i = 0; i < width; ++i) {
          store(to[i], static_cast<float>(row[i]) * r * static_cast<float>(w[i]));
        }
      }
    });
  });
}

void CpuBackend::rms_norm_backward(Tensor dx, ConstTensor dout, ConstTensor x, ConstTensor weight,
                                   ConstTensor rstd) {
  const std::int64_t width = x.dim(1);
  const float* inverse = rstd.data<float>();
  visit_float(x.dtype(), [&]<typename T>(T) {
    const T* w = weight.data<T>();
    parallel_chunks(threads_, x.dim(0), rows_per_chunk(width), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const T* row = x.data<T>() + n * width;
        const T* d = dout.data<T>() + n * width;
        T* to = dx.data<T>() + n * width;
        const float r = inverse[n];
        const float along = r * r * sum_of_products(d, w, row, width) / static_cast<float>(width);
#pragma omp simd
        for (std::int64_t i = 0; i < width; ++i) {
          const float g = static_cast<float>(d[i]) * static_cast<float>(w[i]);
          store(to[i], static_cast<float>(to[i]) + r * (g - static_cast<float>(row[i]) * along));
        }
      }
    });
  });
}

// Each thread owns some columns and walks over all tokens.
void CpuBackend::rms_norm_weight_backward(Tensor dweight, ConstTensor dout, ConstTensor x, ConstTensor rstd) {
  constexpr std::int64_t columns = 64;
  const std::int64_t count = x.dim(0), width = x.dim(1);
  const float* inverse = rstd.data<float>();
  float* to = dweight.data<float>();
  visit_float(x.dtype(), [&]<typename T>(T) {
    const T* d = dout.data<T>();
    const T* value = x.data<T>();
    parallel_chunks(threads_, width, columns, [&](std::int64_t begin, std::int64_t end) {
      std::array<double, columns> sums{};
      for (std::int64_t n = 0; n < count; ++n) {
        const std::int64_t row = n * width + begin;
#pragma omp simd
        for (std::int64_t i = 0; i < end - begin; ++i) {
          const float term = static_cast<float>(d[row + i]) * static_cast<float>(value[row + i]) * inverse[n];
          sums[static_cast<std::size_t>(i)] += static_cast<double>(term);
        }
      }
      for (std::int64_t i = begin; i < end; ++i) {
        to[i] = static_cast<float>(static_cast<double>(to[i]) + sums[static_cast<std::size_t>(i - begin)]);
      }
    });
  });
}

}  // namespace chorus
