#pragma once

#include <string_view>
#include <vector>

namespace chorus {

// How a CPU computes products of bf16 matrices. Sums are f32 each way; results differ in their rounding.
enum class Bf16Products {
  amx,          // tile registers
  dot_product,  // AVX-512 bf16: pairs of bf16 multiplied and added to f32
  through_f32   // operands are widened piece by piece
};

// What processor and oneDNN can do.
std::vector<Bf16Products> possible_bf16_products();

// The fastest of them. Tiles are, where there are any. Dot products are only on some processors: on AMD's Zen 4 they do
// twice the work of f32 multiply-adds, on Intel's with the tiles switched off half of it; so oneDNN is asked once, by a
// product of each kind (about 3 ms).
Bf16Products fastest_bf16_products();

std::string_view name(Bf16Products products);

}  // namespace chorus
