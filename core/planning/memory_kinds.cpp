#include "core/planning/memory_kinds.h"

#include "core/planning/rehearsal.h"

namespace chorus {

namespace {

std::int64_t bytes_taken(DType dtype, const Shape& shape) {
  Arena arena = Arena::measuring();
  arena.take(dtype, shape);
  return arena.peak_bytes();
}

// Most bytes of a step of a model of so many blocks, one row of which has a target.
std::int64_t step_bytes(ModelConfig config, ModelOptions options, const ProcessGrid& grid,
                        std::int64_t tokens, std::int64_t layers) {
  config.layers = layers;
  config.max_positions = 1;  // the table is not read
  options.recompute = false;
  Rehearsal rank(grid);
  Arena memory = Arena::measuring(), arena = Arena::measuring();
  Llama base(config, options, rank.backend, rank.groups, memory);
  const Model model(base, options, memory);
  const DeviceBatch batch = model.upload(rehearsal_batch(tokens, 1), arena);
  const Tensor log_probability = arena.take(accumulator(options.precision), {1});
  model.score_and_backward(log_probability, batch, 1, 0, arena);
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

void divide_model(MemoryKinds& kinds, const MemoryPlan& plan, const ModelConfig& config,
                  const ModelOptions& options, const ProcessGrid& grid) {
  Rehearsal rank(grid);
  Arena memory = Arena::measuring();
  ModelConfig small_table = config;
  small_table.max_positions = 1;
  Llama base(small_table, options, rank.backend, rank.groups, memory);
  const Model model(base, options, memory);
  const DType acc = accumulator(options.precision);
  const Shape flat{model.parameters().flat_elements()};
  kinds.masters = kinds.gradients = bytes_taken(acc, flat);
  kinds.values = options.precision == acc ? 0 : bytes_taken(options.precision, flat);
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
  MemoryKinds kinds;
  divide_model(kinds, plan, config, options, grid);

  Rehearsal rank(grid);
  const TokenRows rows(rank.backend, rank.tensor,
                       options.sequence_parallel ? TokenDivision::by_rank : TokenDivision::none);
  Arena arena = Arena::measuring();
  const DeviceBatch batch = upload(rehearsal_batch(limits.tokens, limits.tokens), rank.backend, arena,
                                   options.precision, rows.multiple());
  kinds.batch = arena.peak_bytes() + bytes_taken(accumulator(options.precision), {limits.tokens});
  if (options.projector) {
    kinds.batch += bytes_taken(options.precision, {limits.tokens, options.projector->inputs}) +
                   bytes_taken(DType::i32, {limits.tokens});
  }
  kinds.logits = logits_bytes(config, options.precision, rank, batch);

  const std::int64_t residual =
      bytes_taken(options.precision, {rows.own_count(batch.size()), config.hidden_size});
  kinds.residuals = (config.layers + 2) * residual;
  kinds.saved_per_block = step_bytes(config, options, grid, limits.tokens, 2) -
                          step_bytes(config, options, grid, limits.tokens, 1) - residual;
  kinds.saved = (options.recompute ? 1 : config.layers) * kinds.saved_per_block;
  kinds.workspace = plan.activations - kinds.batch - kinds.residuals - kinds.saved;
  return kinds;
}

}  // namespace chorus
