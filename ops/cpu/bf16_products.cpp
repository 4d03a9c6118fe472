#include "ops/cpu/bf16_products.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "ops/cpu/matmul_plan.h"
#include "ops/cpu/scratch.h"

namespace chorus {

namespace {

bool library_has(dnnl::cpu_isa wanted) {
  const auto has = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto needed = static_cast<unsigned>(wanted);
  return (has & needed) == needed;
}

// A product that stays in the second-level cache, and the fastest of its calls so far.
class TimedProduct {
 public:
  explicit TimedProduct(DType input)
      : plan_({.m = rows,
               .n = size,
               .k = size,
               .a_leading = size,
               .b_leading = size,
               .out_leading = size,
               .transpose_b = true,
               .input = input},
              engine_, 1) {
    char* memory = static_cast<char*>(memory_.bytes(operands + product + plan_.scratch_bytes()));
    std::fill_n(memory, operands, char{0});
  }

  void run() {
    char* memory = static_cast<char*>(memory_.bytes(operands + product));
    const auto start = std::chrono::steady_clock::now();
    plan_.run(0, stream_, memory, memory + rows * size * 4, memory + operands, memory + operands + product);
    fastest_ = std::min(fastest_, std::chrono::steady_clock::now() - start);
  }
  std::chrono::steady_clock::duration fastest() const { return fastest_; }

 private:
  static constexpr std::int64_t rows = 128, size = 256;
  static constexpr std::int64_t operands = (rows + size) * size * 4,
                                product = rows * size * 4;  // bytes, at most

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  MatmulPlan plan_;
  Scratch memory_;
  std::chrono::steady_clock::duration fastest_ = std::chrono::steady_clock::duration::max();
};

// The ratio is near 2 or 1/2, and the fastest of several short calls is free of what else the machine does: the answer
// is the same each time.
bool dot_products_are_faster() {
  const OneThreadInLibrary guard;
  TimedProduct f32(DType::f32), bf16(DType::bf16);
  for (int i = 0; i < 8; ++i) {
    f32.run();
    bf16.run();
  }
  return 5 * bf16.fastest() < 4 * f32.fastest();
}

Bf16Products choose() {
  const std::vector<Bf16Products> possible = possible_bf16_products();
  if (possible.front() != Bf16Products::dot_product) return possible.front();
  return dot_products_are_faster() ? Bf16Products::dot_product : Bf16Products::through_f32;
}

}  // namespace

std::vector<Bf16Products> possible_bf16_products() {
  if (library_has(dnnl::cpu_isa::avx512_core_amx)) return {Bf16Products::amx, Bf16Products::through_f32};
  if (library_has(dnnl::cpu_isa::avx512_core_bf16))
    return {Bf16Products::dot_product, Bf16Products::through_f32};
  return {Bf16Products::through_f32};
}

Bf16Products fastest_bf16_products() {
  static const Bf16Products fastest = choose();
  return fastest;
}

std::string_view name(Bf16Products products) {
  switch (products) {
    case Bf16Products::amx:
      return "AMX";
    case Bf16Products::dot_product:
      return "AVX-512 bf16";
    case Bf16Products::through_f32:
      break;
  }
  return "f32";
}

}  // namespace chorus
