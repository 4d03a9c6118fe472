#include "core/planning/memory_kinds.h"

#include "core/planning/rehearsal.h"

namespace chorus {

namespace {

std::int64_t bytes_taken(DType dtype, const Shape& shape) {
  Arena arena = Arena::measuring();
  arena.take(dtype, shape);
  return arena.peak_bytes();
}

std::int64_t logits_bytes(const ModelConfig& config, DType dtype, Rehearsal& rank, const DeviceBatch& batch) {
  VocabularyHead head(rank.backend, rank.tensor, config.vocabulary_size);
  const std::int64_t part = shard(config.vocabulary_size, rank.tensor.rank(), rank.tensor.size()).length();
  head.weight.frozen = Tensor(dtype, {part, config.hidden_size}, nullptr);
  const Tensor h(dtype, {batch.targets.rows, config.hidden_size}, nullptr);
  const Tensor log_probability(accumulator(dtype), {batch.targets.tokens.elements()}, nullptr);
  Arena arena = Arena::measuring();
  head.score_and_backward(log_probability, h, h, batch.targets, 1, arena);
  return arena.peak_bytes();
}

// Those of the model arena.
void divide_model(MemoryKinds& kinds, const MemoryPlan& plan, const ModelConfig& config, const Model& model) {
  const DType precision = model.options().precision, acc = accumulator(precision);
  const Shape flat{model.parameters().flat_elements()};
  kinds.masters = kinds.gradients = bytes_taken(acc, flat);
  kinds.values = precision == acc ? 0 : bytes_taken(precision, flat);
  kinds.rope_table = bytes_taken(acc, {config.longest_text(), config.head_width}) + bytes_taken(acc, {1});
  kinds.moments = plan.optimizer;
  kinds.in_place = plan.in_place;
  kinds.weights = plan.model() - kinds.masters - kinds.gradients - kinds.values - kinds.rope_table;
}

}  // namespace

MemoryKinds memory_kinds(const ModelConfig& config, const ModelOptions& options, const ProcessGrid& grid,
                         const PassLimits& limits, const StoredWeights& in_place) {
  require(limits.training && limits.cached_sequences == 0, "kinds of memory are told of trainings only");
  const MemoryPlan plan = plan_memory(config, options, grid, limits, in_place);
  Rehearsal rank(grid);
  Arena memory = Arena::measuring(), arena = Arena::measuring();
  ModelConfig small_table = config;
  small_table.max_positions = 1;  // it is not read
  Llama base(small_table, options, rank.backend, rank.groups, memory);
  const Model model(base, options, memory);
  MemoryKinds kinds;
  divide_model(kinds, plan, config, model);

  DeviceBatch batch = model.upload(rehearsal_batch(limits.tokens, limits.tokens), arena);
  batch.features = most_features(options, limits.tokens, arena);
  kinds.batch = arena.peak_bytes() + bytes_taken(accumulator(options.precision), {limits.tokens});
  kinds.logits = logits_bytes(config, options.precision, rank, batch);

  const TokenRows rows(rank.backend, rank.tensor, base.division());
  const Llama::Kept kept = model.kept_for_backward(batch);
  kinds.residuals =
      kept.inputs + bytes_taken(options.precision, {rows.own_count(batch.size()), config.hidden_size});
  kinds.saved_per_block = kept.largest_block;
  kinds.saved = options.recompute == Recompute::all ? kept.largest_block : kept.blocks;
  kinds.workspace = plan.activations - kinds.batch - kinds.residuals - kinds.saved;
  return kinds;
}

}  // namespace chorus
