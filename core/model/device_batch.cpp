#include "core/model/device_batch.h"

#include "ops/transfer.h"

namespace chorus {

namespace {

// The filling sees only itself, has no target and so no gradient: it changes nothing.
MicroBatch filled_up(MicroBatch batch, std::int64_t token_multiple) {
  const auto missing = static_cast<std::int32_t>(token_multiple - batch.forest.tokens % token_multiple);
  batch.forest.segments.push_back({batch.forest.tokens, missing, -1, 0});
  batch.forest.tokens += missing;
  batch.tokens.resize(static_cast<std::size_t>(batch.forest.tokens));
  batch.token_ids.resize(static_cast<std::size_t>(batch.forest.tokens));
  return batch;
}

Tensor upload_vector(Backend& backend, Arena& arena, DType dtype, std::span<const float> values) {
  const Tensor tensor = arena.take(dtype, {std::ssize(values)});
  upload_floats(backend, tensor, values);
  return tensor;
}

FeatureRows upload_features(const MicroBatch& batch, Backend& backend, Arena& arena, DType precision) {
  std::vector<std::int32_t> rows;
  for (std::size_t n = 0; n < batch.tokens.size(); ++n) {
    if (is_feature(batch.tokens[n])) rows.push_back(static_cast<std::int32_t>(n));
  }
  if (rows.empty()) return {};
  const std::int64_t width = std::ssize(batch.features) / std::ssize(rows);
  require(width > 0 && width * std::ssize(rows) == std::ssize(batch.features), batch.features.size(),
          " numbers for ", rows.size(), " rows of features");
  const Tensor values = arena.take(precision, {std::ssize(rows), width});
  upload_floats(backend, values, batch.features);
  return {values, upload_integers(backend, arena, rows)};
}

}  // namespace

DeviceBatch upload(const MicroBatch& batch, Backend& backend, Arena& arena, DType precision,
                   std::int64_t token_multiple) {
  if (batch.forest.tokens % token_multiple != 0)
    return upload(filled_up(batch, token_multiple), backend, arena, precision);
  std::vector<std::int32_t> rows, chunk_rows, tokens;
  std::vector<float> weights;
  DeviceBatch device;
  for (std::size_t t = 0; t < batch.targets.size(); ++t) {
    const Target& target = batch.targets[t];
    require(rows.empty() || rows.back() <= target.row, "targets are not in the order of their rows");
    if (rows.empty() || rows.back() != target.row) {
      if (std::ssize(rows) % VocabularyHead::rows_per_chunk == 0) {
        device.chunk_offsets.push_back(static_cast<std::int64_t>(t));
      }
      rows.push_back(target.row);
    }
    chunk_rows.push_back(static_cast<std::int32_t>((std::ssize(rows) - 1) % VocabularyHead::rows_per_chunk));
    tokens.push_back(target.token);
    weights.push_back(batch.weights.empty() ? 1 : batch.weights[static_cast<std::size_t>(target.sample)]);
  }
  device.chunk_offsets.push_back(std::ssize(batch.targets));

  device.forest = batch.forest;
  device.tokens = upload_integers(backend, arena, batch.tokens);
  device.positions = upload_integers(backend, arena, batch.forest.positions());
  device.token_ids = upload_integers(backend, arena, batch.token_ids);
  device.features = upload_features(batch, backend, arena, precision);
  device.target_rows = upload_integers(backend, arena, rows);
  device.targets = {.rows = std::ssize(rows),
                    .chunk_rows = upload_integers(backend, arena, chunk_rows),
                    .tokens = upload_integers(backend, arena, tokens),
                    .weights = upload_vector(backend, arena, accumulator(precision), weights),
                    .offsets = device.chunk_offsets};
  return device;
}

}  // namespace chorus
