#include "core/model/flops.h"

namespace chorus {

double training_flops(const ModelConfig& config, const ModelOptions& options, const StepWork& work) {
  double linear = 0, lora = 0;
  for (const Projection which : all_projections) {
    const Features shape = features(config, which);
    linear += static_cast<double>(config.layers * shape.outputs * shape.inputs);
  }
  if (options.lora) {
    for (const PlacedPath& place : paths_of(*options.lora, config.layers)) {
      const Features shape = features(config, place.projection);
      lora += static_cast<double>(place.path.rank * (shape.outputs + shape.inputs));
    }
  }
  const auto tokens = static_cast<double>(work.tokens);
  const double head =
      static_cast<double>(config.vocabulary_size * config.hidden_size) * static_cast<double>(work.rows);
  const double attention = 4.0 * static_cast<double>(config.layers * config.query_heads * config.head_width) *
                           static_cast<double>(work.attended_pairs);
  const double per_weight = options.train_base ? 6 : 4;
  return per_weight * (linear * tokens + head) + 6 * lora * tokens + 3 * attention;
}

}  // namespace chorus
