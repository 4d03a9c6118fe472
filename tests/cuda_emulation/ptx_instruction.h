#pragma once

#include <string>
#include <vector>

#include "tests/cuda_emulation/ptx.h"

namespace chorus::cuda_emulation {

// A parsed line of PTX.
struct PtxInstruction {
  enum class Operation {
    mma_bf16,  // mma.sync m16n8k16, bf16 with f32 sums
    mma_f16,   // the same with f16
    mma_tf32,  // mma.sync m16n8k8
    ldmatrix,
    cp_async,
    cp_async_commit,
    cp_async_wait,  // for all but so many groups
    cp_async_wait_all,
    ex2,
    bar_sync
  };
  // In the text: %2, {%0, %1}, [%3 + 16], 16.
  struct Argument {
    enum class Kind { operand, list, address, constant };
    Kind kind;
    std::vector<unsigned> operands;  // their numbers
    std::int64_t constant = 0;       // or the offset of an address
  };

  std::string text;
  Operation operation = Operation::bar_sync;
  std::vector<Argument> arguments;
  std::size_t operands = 0;  // how many the text names
  unsigned matrices = 0;     // of ldmatrix
  bool transpose = false;    // of ldmatrix
};

// Reports what is not PTX, or not PTX that the emulation knows.
const PtxInstruction* parse_ptx(const char* text, Location where);

}  // namespace chorus::cuda_emulation
