#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>

namespace chorus {

inline bool all_finite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

// Ends the message where a model computed something else.
inline constexpr std::string_view not_finite_advice =
    "a weight of the base or the adapter is no finite number, or the training went astray: lower "
    "--learning-rate, or use --precision f32";

}  // namespace chorus
