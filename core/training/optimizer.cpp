#include "core/training/optimizer.h"

#include <nlohmann/json.hpp>

namespace chorus {

nlohmann::ordered_json identity(const AdamWOptions& options) {
  return {{"weight-decay", options.weight_decay},
          {"adam-beta1", options.beta1},
          {"adam-beta2", options.beta2},
          {"adam-epsilon", options.epsilon}};
}

AdamW::AdamW(Backend& backend, ParameterSet& parameters, DType precision, Arena& arena)
    : backend_(backend), parameters_(parameters) {
  const Shape shape{parameters.flat_elements()};
  m_ = arena.take(accumulator(precision), shape);
  v_ = arena.take(accumulator(precision), shape);
  backend_.fill(m_, 0);
  backend_.fill(v_, 0);
}

void AdamW::update(const AdamWOptions& options) {
  backend_.adamw(parameters_.masters(), m_, v_, parameters_.gradients(), options);
  parameters_.refresh_values();
}

}  // namespace chorus
