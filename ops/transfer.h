#pragma once

#include <span>
#include <vector>

#include "ops/memory.h"

namespace chorus {

// Host values to a float tensor, rounded to its type, and back.
void upload_floats(Backend& backend, Tensor to, std::span<const float> values);
std::vector<float> download_floats(Backend& backend, ConstTensor from);

// A tensor from `arena` that holds host integers.
Tensor upload_integers(Backend& backend, Arena& arena, std::span<const std::int32_t> values);
Tensor upload_integers(Backend& backend, Arena& arena, std::span<const std::int64_t> values);

}  // namespace chorus
