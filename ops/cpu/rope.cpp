#include "ops/cpu/cpu_backend.h"
#include "ops/cpu/parallel_for.h"
#include "ops/cpu/visit_float.h"

namespace chorus {

namespace {

// (first[j], second[j]) turned by the angle whose cosine and sine are given.
template <typename T>
void turn(T* first, T* second, const float* cosine, const float* sine, float direction, std::int64_t half) {
#pragma omp simd
  for (std::int64_t j = 0; j < half; ++j) {
    const auto a = static_cast<float>(first[j]), b = static_cast<float>(second[j]);
    const float s = direction * sine[j];
    store(first[j], a * cosine[j] - b * s);
    store(second[j], b * cosine[j] + a * s);
  }
}

}  // namespace

void CpuBackend::rope(Tensor x, ConstTensor positions, ConstTensor cos_sin, Rotation rotation) {
  const std::int64_t heads = x.dim(1), width = x.dim(2), half = width / 2;
  const std::int32_t* position = positions.data<std::int32_t>();
  const float* table = cos_sin.data<float>();
  const float direction = rotation == Rotation::forward ? 1.0F : -1.0F;
  for (std::int64_t n = 0; n < x.dim(0); ++n) {
    require(position[n] >= 0 && position[n] < cos_sin.dim(0), "rope: token ", n, " has position ",
            position[n], ", but the table ends at ", cos_sin.dim(0));
  }
  visit_float(x.dtype(), [&]<typename T>(T) {
    T* values = x.data<T>();
    parallel_chunks(threads_, x.dim(0), rows_per_chunk(heads * width),
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t n = begin; n < end; ++n) {
                        const float* cosine = table + position[n] * width;
                        for (std::int64_t h = 0; h < heads; ++h) {
                          T* head = values + (n * heads + h) * width;
                          turn(head, head + half, cosine, cosine + half, direction, half);
                        }
                      }
                    });
  });
}

}  // namespace chorus
