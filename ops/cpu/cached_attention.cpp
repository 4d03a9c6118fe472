#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/cpu/cpu_backend.h"
#include "ops/cpu/exponential.h"
#include "ops/cpu/parallel_for.h"
#include "ops/cpu/visit_float.h"

namespace chorus {

namespace {

template <typename T>
float dot(const T* a, const T* b, std::int64_t width) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t d = 0; d < width; ++d) sum += static_cast<float>(a[d]) * static_cast<float>(b[d]);
  return sum;
}

// Scores to probabilities.
void softmax(float* scores, std::int64_t count) {
  float largest = -std::numeric_limits<float>::infinity(), sum = 0;
#pragma omp simd reduction(max : largest)
  for (std::int64_t s = 0; s < count; ++s) largest = scores[s] > largest ? scores[s] : largest;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t s = 0; s < count; ++s) {
    scores[s] = exponential(scores[s] - largest);
    sum += scores[s];
  }
  const float inverse = 1.0F / sum;
#pragma omp simd
  for (std::int64_t s = 0; s < count; ++s) scores[s] *= inverse;
}

}  // namespace

// Bound by reading the cache, so the query heads of a group are computed together: each cached row is read
// once.
void CpuBackend::cached_attention(Tensor out, ConstTensor q, ConstTensor k, ConstTensor v,
                                  ConstTensor lengths) {
  const std::int64_t sequences = q.dim(0), heads = q.dim(1), width = q.dim(2), rows = k.dim(1),
                     key_heads = k.dim(2);
  const std::int64_t group = heads / key_heads;
  const std::int32_t* length = lengths.data<std::int32_t>();
  for (std::int64_t b = 0; b < sequences; ++b) {
    require(length[b] > 0 && length[b] <= rows, "cached_attention: sequence ", b, " has ", length[b],
            " cached tokens of at most ", rows);
  }
  const std::int64_t longest = sequences == 0 ? 0 : *std::max_element(length, length + sequences);
  reserve_scratch(group * (longest + width) * static_cast<std::int64_t>(sizeof(float)));
  const float scale = 1.0F / std::sqrt(static_cast<float>(width));
  visit_float(q.dtype(), [&]<typename T>(T) {
    parallel_tasks(threads_, sequences * key_heads, [&](std::int64_t task, int worker) {
      const std::int64_t b = task / key_heads, key_head = task % key_heads, count = length[b];
      float* scores = scratch_[static_cast<std::size_t>(worker)].floats(group * (count + width));
      float* sums = scores + group * count;
      const T* queries = q.data<T>() + (b * heads + key_head * group) * width;
      const T* keys = k.data<T>() + (b * rows * key_heads + key_head) * width;
      const T* values = v.data<T>() + (b * rows * key_heads + key_head) * width;
      for (std::int64_t s = 0; s < count; ++s) {
        for (std::int64_t g = 0; g < group; ++g) {
          scores[g * count + s] = scale * dot(queries + g * width, keys + s * key_heads * width, width);
        }
      }
      for (std::int64_t g = 0; g < group; ++g) softmax(scores + g * count, count);
      std::fill_n(sums, group * width, 0.0F);
      for (std::int64_t s = 0; s < count; ++s) {
        const T* value = values + s * key_heads * width;
        for (std::int64_t g = 0; g < group; ++g) {
          const float p = scores[g * count + s];
          float* sum = sums + g * width;
#pragma omp simd
          for (std::int64_t d = 0; d < width; ++d) sum[d] += p * static_cast<float>(value[d]);
        }
      }
      T* to = out.data<T>() + (b * heads + key_head * group) * width;
#pragma omp simd
      for (std::int64_t i = 0; i < group * width; ++i) store(to[i], sums[i]);
    });
  });
}

}  // namespace chorus
