#include "core/planning/memory_plan.h"

#include <algorithm>

#include "core/planning/rehearsal.h"
#include "core/training/training_step.h"
#include "ops/transfer.h"

namespace chorus {

namespace {

std::int64_t largest_parameter(const ParameterSet& parameters) {
  std::int64_t largest = 0;
  for (const Parameter& parameter : parameters.all()) largest = std::max(largest, parameter.full.elements());
  return largest;
}

std::string row(std::string_view what, std::int64_t bytes) {
  return fmt::format("  {:<46}{:>10.1f} MiB\n", what, static_cast<double>(bytes) / (1 << 20));
}

// As of tokens behind a cached beginning, which take most.
void rehearse_generation(Model& model, const ModelOptions& options, const PassLimits& limits,
                         Arena& activations) {
  const auto caches = model.take_caches(limits.cached_sequences, limits.cached_length, activations);
  DeviceBatch batch = model.upload(rehearsal_batch(limits.tokens, limits.cached_sequences), activations);
  batch.features = most_features(options, limits.tokens, activations);
  const std::vector<std::int32_t> places = batch.forest.positions();
  CacheAccess access;
  access.rows = upload_integers(model.backend(), activations, places);
  access.lengths = upload_integers(model.backend(), activations, places);
  batch.positions = upload_integers(model.backend(), activations, places);
  model.logits(batch, access, caches, activations);
}

void rehearse_passes(Model& model, const ModelOptions& options, const PassLimits& limits, Arena& optimizer,
                     Arena& activations) {
  DeviceBatch batch = model.upload(rehearsal_batch(limits.tokens, limits.tokens), activations);
  batch.features = most_features(options, limits.tokens, activations);
  {
    Arena::Scope scope(activations);
    model.score(activations.take(accumulator(options.precision), {limits.tokens}), batch, activations);
  }
  if (limits.logits) model.logits(batch, std::nullopt, {}, activations);
  if (!limits.training) return;
  TrainingStep step(model, optimizer, activations);
  step.accumulate(batch, 1, 0);
  // Checkpoints gather one tensor at a time.
  Arena::Scope scope(activations);
  activations.take(accumulator(options.precision), {largest_parameter(model.parameters())});
}

}  // namespace

std::string MemoryPlan::to_table() const {
  return "memory of one rank\n" +
         (in_place > 0 ? row("base in its file, shared by a machine's ranks", in_place) : "") +
         row("model (weights, parameters, gradients)", model()) + row("optimizer (moments)", optimizer) +
         row("activations of a micro-batch", activations) + row("total", total());
}

MemoryPlan plan_memory(const ModelConfig& config, const ModelOptions& options, const ProcessGrid& grid,
                       const PassLimits& limits, const StoredWeights& in_place) {
  Rehearsal rank(grid);
  MemoryPlan plan;
  Arena weights = Arena::measuring(), parameters = Arena::measuring(), optimizer = Arena::measuring(),
        activations = Arena::measuring();
  Llama base(config, options, rank.backend, rank.groups, weights, in_place);
  plan.in_place = base.bytes_in_place();
  plan.weights = weights.peak_bytes();
  Model model(base, options, parameters);
  plan.parameters = parameters.peak_bytes();

  if (limits.cached_sequences > 0) {
    rehearse_generation(model, options, limits, activations);
  } else {
    rehearse_passes(model, options, limits, optimizer, activations);
  }
  plan.optimizer = optimizer.peak_bytes();
  plan.activations = activations.peak_bytes();
  return plan;
}

std::int64_t plan_weights(const ModelConfig& config, const ModelOptions& options, const ProcessGrid& grid,
                          const StoredWeights& in_place) {
  Rehearsal rank(grid);
  Arena weights = Arena::measuring();
  const Llama base(config, options, rank.backend, rank.groups, weights, in_place);
  return weights.peak_bytes();
}

}  // namespace chorus
