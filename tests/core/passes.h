#pragma once

// Passes over micro-batches with their losses and gradients, for tests of the model.

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "data/sets/batches.h"
#include "ops/transfer.h"
#include "tests/support/reference_backend.h"
#include "tests/support/tiny_model.h"

namespace chorus::test {

struct LossAndGradients {
  double loss = 0;                // - sum of log probabilities
  std::vector<double> gradients;  // flat, of this rank
};

inline std::vector<double> download_doubles(Backend& backend, ConstTensor tensor) {
  if (tensor.dtype() == DType::f64) {
    std::vector<double> values(static_cast<std::size_t>(tensor.elements()));
    backend.download(values.data(), tensor);
    return values;
  }
  const std::vector<float> values = download_floats(backend, tensor);
  return {values.begin(), values.end()};
}

inline LossAndGradients run(TinyModel& tiny, const std::vector<MicroBatch>& batches, Backend& backend) {
  LossAndGradients result;
  tiny.model.parameters().zero_gradients();
  for (const MicroBatch& batch : batches) {
    Arena::Scope scope(tiny.activations);
    const DeviceBatch device = upload(batch, backend, tiny.activations, tiny.model.options().precision);
    const Tensor log_probability =
        tiny.activations.take(accumulator(tiny.model.options().precision), {std::ssize(batch.targets)});
    tiny.model.score_and_backward(log_probability, device, 1.0, 5, tiny.activations);
    for (const double value : download_doubles(backend, log_probability)) result.loss -= value;
  }
  result.gradients = download_doubles(backend, tiny.model.parameters().gradients());
  return result;
}

inline std::vector<MicroBatch> one_step(const Dataset& dataset, bool sharing, std::int64_t tokens = 200) {
  const Batches batches(dataset, {.batch_size = std::ssize(dataset.samples),
                                  .tokens_per_microbatch = tokens,
                                  .shuffle = false,
                                  .prefix_sharing = sharing});
  return batches.step(0, 0).microbatches;
}

inline Groups solo_groups(IdleCommunicator& solo) { return {ProcessGrid{}, solo, solo, solo}; }

// Central differences of every `stride`th parameter on the f64 backend, where they are good to nine digits.
inline void check_gradients(const ModelOptions& options, const ModelConfig& config, const Dataset& dataset,
                            std::size_t stride = 7) {
  ReferenceBackend backend;
  IdleCommunicator solo;
  const std::vector<MicroBatch> batches = one_step(dataset, true);
  TinyModel tiny(config, options, backend, solo_groups(solo));
  const std::vector<double> gradients = run(tiny, batches, backend).gradients;

  const Tensor masters = tiny.model.parameters().masters();
  std::vector<double> values = download_doubles(backend, masters);
  const double h = 1e-5;
  int checked = 0;
  for (std::size_t i = 0; i < values.size(); i += stride) {
    const auto loss_at = [&](double value) {
      std::vector<double> moved = values;
      moved[i] = value;
      backend.upload(masters, moved.data());
      return run(tiny, batches, backend).loss;
    };
    const double numeric = (loss_at(values[i] + h) - loss_at(values[i] - h)) / (2 * h);
    ASSERT_NEAR(gradients[i], numeric, 1e-6 * (1 + std::abs(numeric))) << "parameter " << i;
    checked += std::abs(numeric) > 1e-6 ? 1 : 0;
  }
  EXPECT_GT(checked, 20) << "hardly any gradient is not zero";
}

// ‖a - b‖ / ‖a‖
inline double relative_distance(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += a[i] * a[i];
  }
  return std::sqrt(difference / norm);
}

inline double largest_relative_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double scale = 0, difference = 0;
  for (const double value : a) scale = std::max(scale, std::abs(value));
  for (std::size_t i = 0; i < a.size(); ++i) difference = std::max(difference, std::abs(a[i] - b[i]));
  return difference / scale;
}

}  // namespace chorus::test
