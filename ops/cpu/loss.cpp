#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/cpu/cpu_backend.h"
#include "ops/cpu/exponential.h"
#include "ops/cpu/parallel_for.h"
#include "ops/cpu/visit_float.h"

namespace chorus {

namespace {

// log of the sum of exp(x[i]); -inf for none.
float log_of_sum(const float* x, std::int64_t count) {
  if (count == 0) return minus_infinity;
  float largest = minus_infinity, total = 0;
#pragma omp simd reduction(max : largest) reduction(+ : total)
  for (std::int64_t i = 0; i < count; ++i) {
    largest = x[i] > largest ? x[i] : largest;
    total += x[i];
  }
  // All -inf, or one +inf: nothing to subtract. A comparison passes over NaN, the plain sum does not.
  if (std::isinf(largest)) return std::isnan(total) && largest < 0 ? total : largest;
  constexpr std::int64_t block = 1024;
  double sum = 0;
  for (std::int64_t begin = 0; begin < count; begin += block) {
    const std::int64_t end = std::min(count, begin + block);
    float partial = 0;
#pragma omp simd reduction(+ : partial)
    for (std::int64_t i = begin; i < end; ++i) partial += exponential(x[i] - largest);
    sum += static_cast<double>(partial);
  }
  return static_cast<float>(static_cast<double>(largest) + std::log(sum));
}

void require_targets(const std::int32_t* rows, std::int64_t count, std::int64_t limit, const char* name) {
  for (std::int64_t t = 0; t < count; ++t) {
    require(rows[t] >= 0 && rows[t] < limit, name, ": target ", t, " is at row ", rows[t], " of ", limit);
  }
}

}  // namespace

void CpuBackend::log_sum_exp(Tensor lse, ConstTensor logits) {
  const std::int64_t width = logits.dim(1);
  const float* x = logits.data<float>();
  float* to = lse.data<float>();
  parallel_chunks(threads_, logits.dim(0), rows_per_chunk(width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t m = begin; m < end; ++m) to[m] = log_of_sum(x + m * width, width);
  });
}

void CpuBackend::combine_log_sum_exp(Tensor lse, ConstTensor parts) {
  const std::int64_t ranks = parts.dim(0), rows = parts.dim(1);
  const float* x = parts.data<float>();
  float* to = lse.data<float>();
  float* column = scratch_.front().floats(ranks);
  for (std::int64_t m = 0; m < rows; ++m) {
    for (std::int64_t p = 0; p < ranks; ++p) column[p] = x[p * rows + m];
    to[m] = log_of_sum(column, ranks);
  }
}

void CpuBackend::target_log_probability(Tensor out, ConstTensor logits, ConstTensor lse, ConstTensor rows,
                                        ConstTensor tokens, std::int64_t first) {
  const std::int64_t width = logits.dim(1), count = rows.dim(0);
  const std::int32_t* row = rows.data<std::int32_t>();
  const std::int32_t* token = tokens.data<std::int32_t>();
  require_targets(row, count, logits.dim(0), "target_log_probability");
  const float* x = logits.data<float>();
  const float* normalizer = lse.data<float>();
  float* to = out.data<float>();
  for (std::int64_t t = 0; t < count; ++t) {
    const std::int64_t column = token[t] - first;
    const bool held = column >= 0 && column < width;
    to[t] = held ? x[row[t] * width + column] - normalizer[row[t]] : 0.0F;
  }
}

namespace {

// One row of cross_entropy_backward; `tokens` are those that the row should predict.
template <typename T>
void cross_entropy_row(T* dlogits, const float* logits, float lse, const std::int32_t* tokens,
                       const float* weights, std::int64_t targets, std::int64_t width, std::int64_t first,
                       float scale) {
  const float weight = std::accumulate(weights, weights + targets, 0.0F);
#pragma omp simd
  for (std::int64_t v = 0; v < width; ++v) {
    store(dlogits[v], scale * (weight * exponential(logits[v] - lse)));
  }
  // Recomputed rather than corrected, so that a bf16 result is rounded once.
  for (std::int64_t t = 0; t < targets; ++t) {
    const std::int64_t column = tokens[t] - first;
    if (column < 0 || column >= width) continue;
    float own = 0;
    for (std::int64_t other = 0; other < targets; ++other)
      own += tokens[other] == tokens[t] ? weights[other] : 0;
    store(dlogits[column], scale * (weight * exponential(logits[column] - lse) - own));
  }
}

}  // namespace

void CpuBackend::cross_entropy_backward(Tensor dlogits, ConstTensor logits, ConstTensor lse, ConstTensor rows,
                                        ConstTensor tokens, ConstTensor weights, std::int64_t first,
                                        double scale) {
  const std::int64_t width = logits.dim(1), count = rows.dim(0);
  const std::int32_t* row = rows.data<std::int32_t>();
  const std::int32_t* token = tokens.data<std::int32_t>();
  const float* weight = weights.data<float>();
  require_targets(row, count, logits.dim(0), "cross_entropy_backward");
  require(std::is_sorted(row, row + count), "cross_entropy_backward: the rows of the targets do not ascend");
  visit_float(dlogits.dtype(), [&]<typename T>(T) {
    T* to = dlogits.data<T>();
    const float* x = logits.data<float>();
    const float* normalizer = lse.data<float>();
    parallel_chunks(
        threads_, logits.dim(0), rows_per_chunk(width), [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t m = begin; m < end; ++m) {
            const auto [lower, upper] = std::equal_range(row, row + count, static_cast<std::int32_t>(m));
            if (lower == upper) {
              std::fill_n(to + m * width, width, T{});
              continue;
            }
            cross_entropy_row(to + m * width, x + m * width, normalizer[m], token + (lower - row),
                              weight + (lower - row), upper - lower, width, first, static_cast<float>(scale));
          }
        });
  });
}

}  // namespace chorus
