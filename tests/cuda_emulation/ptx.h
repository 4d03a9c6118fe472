#pragma once

// CHORUS_PTX gives nvcc and the emulation the same text of one PTX instruction; here it is parsed and executed.

#include <bit>
#include <tuple>

#include "tests/cuda_emulation/device.h"

namespace chorus::cuda_emulation {

struct PtxOperand {
  char constraint;  // as in an asm statement: f, r, l, n
  void* output;     // of 32 bits; null: an input
  std::uint64_t input;
};

struct PtxInstruction;

// A place in the source: what its text means is found out once.
struct PtxSite {
  const char* text;
  const PtxInstruction* instruction;
};

void execute(PtxSite& site, const PtxOperand* operands, std::size_t count, Location where);

inline PtxOperand float_output(float& x) { return {'f', &x, 0}; }
inline PtxOperand float_input(float x) { return {'f', nullptr, std::bit_cast<std::uint32_t>(x)}; }
inline PtxOperand register_output(std::uint32_t& x) { return {'r', &x, 0}; }
inline PtxOperand register_input(std::uint32_t x) { return {'r', nullptr, x}; }
inline PtxOperand address_input(const void* x) { return {'l', nullptr, reinterpret_cast<std::uintptr_t>(x)}; }
inline PtxOperand constant_input(std::int64_t x) { return {'n', nullptr, static_cast<std::uint64_t>(x)}; }

template <typename... Outputs, typename... Inputs>
[[gnu::no_sanitize("thread")]] inline void ptx(PtxSite& site, Location where,
                                               const std::tuple<Outputs...>& outputs,
                                               const std::tuple<Inputs...>& inputs) {
  std::apply(
      [&](const auto&... operand) {
        const PtxOperand operands[sizeof...(operand) + 1] = {operand...};
        execute(site, operands, sizeof...(operand), where);
      },
      std::tuple_cat(outputs, inputs));
}

}  // namespace chorus::cuda_emulation
