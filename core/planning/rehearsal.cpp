#include "core/planning/rehearsal.h"

namespace chorus {

MicroBatch rehearsal_batch(std::int64_t tokens, std::int64_t rows) {
  const auto n = static_cast<std::int32_t>(tokens);
  MicroBatch batch;
  batch.forest = single_sequence(n);
  batch.tokens.resize(static_cast<std::size_t>(n));
  batch.token_ids.resize(static_cast<std::size_t>(n));
  for (auto row = static_cast<std::int32_t>(tokens - rows); row < n; ++row)
    batch.targets.push_back({row, 0, 0});
  return batch;
}

FeatureRows most_features(const ModelOptions& options, std::int64_t tokens, Arena& arena) {
  if (!options.projector) return {};
  return {arena.take(options.precision, {tokens, options.projector->inputs}),
          arena.take(DType::i32, {tokens})};
}

}  // namespace chorus
