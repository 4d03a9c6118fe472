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

void AdamW::update(const AdamWOptions& options, double ratio_of_b) {
  if (ratio_of_b == 1) {
    backend_.adamw(parameters_.masters(), m_, v_, parameters_.gradients(), options);
  } else {
    AdamWOptions of_b = options;
    of_b.learning_rate *= ratio_of_b;
    for (const Parameter& parameter : parameters_.all()) {
      const Shape flat{parameter.local.elements()};
      const auto part = [&](Tensor all) { return parameters_.part_of(parameter, all).reshape(flat); };
      backend_.adamw(part(parameters_.masters()), part(m_), part(v_), part(parameters_.gradients()),
                     parameter.is_b ? of_b : options);
    }
  }
  parameters_.refresh_values();
}

}  // namespace chorus
