#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace chorus {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

// exp(x) to 2 units in the last place, in a form that compilers vectorise. Exactly 0 below -87.3 (so for
// -inf), +inf above 88.4, NaN for NaN.
//
// x = k ln 2 + r with |r| <= ln 2 / 2; exp(x) = 2^k exp(r), exp(r) by its Taylor polynomial of degree 7,
// whose remainder is below 6e-9. ln 2 is split in two so that k times its first part is exact.
inline float exponential(float x) {
  constexpr float log2_e = 1.44269504088896341F, ln2_high = 0.693359375F, ln2_low = -2.12194440054690583e-4F;
  constexpr float to_integer = 0x1.8p23F;  // adding it leaves the nearest integer in the low bits
  const float clamped = x < -87.3F ? -87.3F : (x > 88.4F ? 88.8F : x);
  const float shifted = clamped * log2_e + to_integer;
  const float k = shifted - to_integer;
  const float r = (clamped - k * ln2_high) - k * ln2_low;
  float p = 1.0F / 5040;
  p = p * r + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r * r + r + 1.0F;
  const std::uint32_t exponent =
      std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(to_integer);
  const float power = std::bit_cast<float>((exponent + 127U) << 23);
  return x < -87.3F ? 0.0F : p * power;
}

inline float sigmoid(float x) { return 1.0F / (1.0F + exponential(-x)); }

}  // namespace chorus
