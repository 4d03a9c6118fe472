#include "core/training/training_step.h"

#include "ops/transfer.h"

namespace chorus {

namespace {

double weighted_sum(const std::vector<float>& log_probability, const MicroBatch& batch) {
  double sum = 0;
  for (std::size_t t = 0; t < batch.targets.size(); ++t) {
    const float weight = batch.weights[static_cast<std::size_t>(batch.targets[t].sample)];
    sum += static_cast<double>(weight) * static_cast<double>(log_probability[t]);
  }
  return sum;
}

}  // namespace

TrainingStep::TrainingStep(Model& model, Arena& optimizer, Arena& activations)
    : model_(model),
      activations_(activations),
      optimizer_(model.backend(), model.parameters(), model.options().precision, optimizer) {}

void TrainingStep::begin() { model_.parameters().zero_gradients(); }

double TrainingStep::accumulate(const MicroBatch& batch, double scale, std::uint32_t number) {
  Arena::Scope scope(activations_);
  const Tensor log_probability = accumulate(model_.upload(batch, activations_), scale, number);
  return weighted_sum(download_floats(model_.backend(), log_probability), batch);
}

Tensor TrainingStep::accumulate(const DeviceBatch& batch, double scale, std::uint32_t number) {
  const Tensor log_probability =
      activations_.take(accumulator(model_.options().precision), {batch.targets.tokens.elements()});
  model_.score_and_backward(log_probability, batch, scale, number, activations_);
  return log_probability;
}

void TrainingStep::reduce() { model_.parameters().reduce_gradients(); }

double TrainingStep::gradient_norm() const { return model_.parameters().gradient_norm(); }

void TrainingStep::update(const AdamWOptions& options, double ratio_of_b) {
  optimizer_.update(options, ratio_of_b);
}

}  // namespace chorus
