#include "core/scoring/text_logits.h"

#include "data/sets/batch.h"

namespace chorus {

std::vector<float> text_logits(const Model& model, std::span<const std::int32_t> tokens, Arena& arena) {
  const auto n = static_cast<std::int32_t>(tokens.size());
  MicroBatch batch;
  batch.forest = single_sequence(n);
  batch.tokens.assign(tokens.begin(), tokens.end());
  batch.token_ids.resize(tokens.size());
  for (std::int32_t row = 0; row < n; ++row) batch.targets.push_back({row, 0, 0});
  Arena::Scope scope(arena);
  return model.logits(model.upload(batch, arena), std::nullopt, {}, arena);
}

}  // namespace chorus
