#include <array>
#include <cmath>

#include "ops/cpu/cpu_backend.h"
#include "ops/cpu/parallel_for.h"

namespace chorus {

namespace {

double squares(const float* x, std::int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

}  // namespace

void CpuBackend::sum_of_squares(Tensor out, ConstTensor x) {
  constexpr std::int64_t parts = 256;
  const std::int64_t count = x.elements();
  const std::int64_t chunk = std::max(elements_per_chunk, (count + parts - 1) / parts);
  const float* values = x.data<float>();
  std::array<double, parts> sums{};
  parallel_chunks(threads_, count, chunk, [&](std::int64_t begin, std::int64_t end) {
    sums[static_cast<std::size_t>(begin / chunk)] = squares(values + begin, end - begin);
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  *out.data<float>() = static_cast<float>(total);
}

void CpuBackend::adamw(Tensor value, Tensor m, Tensor v, ConstTensor gradient, const AdamWOptions& options) {
  const auto t = static_cast<double>(options.step);
  // lr · m_hat / (sqrt(v_hat) + epsilon), with the two corrections moved into the constants.
  const auto step = static_cast<float>(options.learning_rate / (1.0 - std::pow(options.beta1, t)));
  const auto variance_scale = static_cast<float>(1.0 / (1.0 - std::pow(options.beta2, t)));
  const auto decay = static_cast<float>(options.learning_rate * options.weight_decay);
  const auto beta1 = static_cast<float>(options.beta1), beta2 = static_cast<float>(options.beta2);
  const auto rest1 = static_cast<float>(1.0 - options.beta1), rest2 = static_cast<float>(1.0 - options.beta2);
  const auto epsilon = static_cast<float>(options.epsilon),
             scale = static_cast<float>(options.gradient_scale);
  float* values = value.data<float>();
  float* first = m.data<float>();
  float* second = v.data<float>();
  const float* gradients = gradient.data<float>();
  parallel_chunks(threads_, value.elements(), elements_per_chunk, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      const float g = scale * gradients[i];
      first[i] = beta1 * first[i] + rest1 * g;
      second[i] = beta2 * second[i] + rest2 * g * g;
      const float direction = step * first[i] / (std::sqrt(second[i] * variance_scale) + epsilon);
      values[i] -= decay * values[i] + direction;
    }
  });
}

}  // namespace chorus
