#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/model/model.h"

namespace chorus {

// Logits [N, V] after each of N tokens, on the host of every tensor rank. `arena` must have the memory of
// PassLimits{.tokens = N, .logits = true}. Collective.
std::vector<float> text_logits(const Model& model, std::span<const std::int32_t> tokens, Arena& arena);

}  // namespace chorus
