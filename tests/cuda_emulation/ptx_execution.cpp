#include <cstring>

#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/ptx_instruction.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/tensor_core.h"

namespace chorus::cuda_emulation {
namespace {

using Argument = PtxInstruction::Argument;
using Operation = PtxInstruction::Operation;

// The operands of one execution, by their places in the text.
class Operands {
 public:
  Operands(const PtxInstruction& instruction, const PtxOperand* operands)
      : instruction_(instruction), operands_(operands) {}

  const Argument& argument(std::size_t i) const { return instruction_.arguments[i]; }

  std::uint64_t value(unsigned operand) const {
    const PtxOperand& x = operands_[operand];
    if (x.output == nullptr) return x.input;
    std::uint32_t bits = 0;
    std::memcpy(&bits, x.output, sizeof bits);
    return bits;
  }
  // Of an argument that is one operand, an address, or a constant.
  std::uint64_t scalar(std::size_t i) const {
    const Argument& x = argument(i);
    if (x.kind == Argument::Kind::constant) return static_cast<std::uint64_t>(x.constant);
    return value(x.operands[0]) + static_cast<std::uint64_t>(x.constant);
  }
  template <typename T, std::size_t count>
  void read(std::size_t i, T (&values)[count]) const {
    for (std::size_t k = 0; k < count; ++k) {
      values[k] = std::bit_cast<T>(static_cast<std::uint32_t>(value(argument(i).operands[k])));
    }
  }
  template <typename T>
  void write(std::size_t i, const T* values) const {
    static_assert(sizeof(T) == 4);
    const auto& operands = argument(i).operands;
    for (std::size_t k = 0; k < operands.size(); ++k)
      std::memcpy(operands_[operands[k]].output, &values[k], 4);
  }

  // Checks by the constraints that nvcc would get; once for each place in the source.
  void expect(std::size_t i, char constraint, bool is_output, Location where) const {
    for (const unsigned operand : argument(i).operands) {
      const PtxOperand& x = operands_[operand];
      const bool fits =
          x.constraint == constraint || (constraint == 'r' && x.constraint == 'n' && !is_output);
      if (!fits) {
        report(where, "PTX \"{}\": %{} has constraint '{}', but is to have '{}'", instruction_.text, operand,
               x.constraint, constraint);
      }
      if (is_output && x.output == nullptr) {
        report(where, "PTX \"{}\": %{} must be an output", instruction_.text, operand);
      }
    }
  }

 private:
  const PtxInstruction& instruction_;
  const PtxOperand* operands_;
};

void check_operands(const PtxInstruction& instruction, const Operands& operands, std::size_t count,
                    Location where) {
  if (count != instruction.operands) {
    report(where, "PTX \"{}\" names {} operands and gets {}", instruction.text, instruction.operands, count);
  }
  switch (instruction.operation) {
    case Operation::mma_bf16:
    case Operation::mma_f16:
    case Operation::mma_tf32:
      operands.expect(0, 'f', true, where);
      operands.expect(1, 'r', false, where);
      operands.expect(2, 'r', false, where);
      operands.expect(3, 'f', false, where);
      return;
    case Operation::ldmatrix:
      operands.expect(0, 'r', true, where);
      operands.expect(1, 'r', false, where);
      return;
    case Operation::cp_async:
      operands.expect(0, 'r', false, where);
      operands.expect(1, 'l', false, where);
      if (instruction.arguments.size() == 4) operands.expect(3, 'r', false, where);
      return;
    case Operation::ex2:
      operands.expect(0, 'f', true, where);
      operands.expect(1, 'f', false, where);
      return;
    case Operation::cp_async_wait:
      operands.expect(0, 'n', false, where);
      return;
    case Operation::bar_sync:
      operands.expect(0, 'r', false, where);
      operands.expect(1, 'r', false, where);
      return;
    case Operation::cp_async_commit:
    case Operation::cp_async_wait_all:
      return;
  }
}

void multiply(const Operands& operands, Collective operation, Location where) {
  MatrixProduct product;
  operands.read(1, product.a);
  operands.read(2, product.b);
  operands.read(3, product.c);
  collective(operation, &product, 0xffffffffU, where);
  operands.write(0, product.d);
}

void load(const PtxInstruction& instruction, const Operands& operands, Location where) {
  MatrixLoad load{
      static_cast<std::uint32_t>(operands.scalar(1)), instruction.matrices, instruction.transpose, {}};
  collective(&load_matrices, &load, 0xffffffffU, where);
  operands.write(0, load.registers);
}

void copy(const PtxInstruction& instruction, const Operands& operands, Location where) {
  const auto bytes = static_cast<unsigned>(operands.scalar(2));
  const unsigned valid =
      instruction.arguments.size() == 4 ? static_cast<unsigned>(operands.scalar(3)) : bytes;
  start_copy({static_cast<unsigned>(operands.scalar(0)), reinterpret_cast<const void*>(operands.scalar(1)),
              bytes, valid, where});
}

void exponentiate(const Operands& operands) {
  const float x = std::bit_cast<float>(static_cast<std::uint32_t>(operands.scalar(1)));
  const float result = exp2_approximately(x);
  operands.write(0, &result);
}

}  // namespace

void execute(PtxSite& site, const PtxOperand* given, std::size_t count, Location where) {
  if (current == nullptr) report(where, "PTX outside a kernel");
  if (site.instruction == nullptr) {
    site.instruction = parse_ptx(site.text, where);
    check_operands(*site.instruction, Operands(*site.instruction, given), count, where);
  }
  const PtxInstruction& instruction = *site.instruction;
  const Operands operands(instruction, given);
  switch (instruction.operation) {
    case Operation::mma_bf16:
      return multiply(operands, &multiply_bf16, where);
    case Operation::mma_f16:
      return multiply(operands, &multiply_f16, where);
    case Operation::mma_tf32:
      return multiply(operands, &multiply_tf32, where);
    case Operation::ldmatrix:
      return load(instruction, operands, where);
    case Operation::cp_async:
      return copy(instruction, operands, where);
    case Operation::cp_async_commit:
      return commit_copies();
    case Operation::cp_async_wait:
      return wait_for_copies(operands.scalar(0));
    case Operation::cp_async_wait_all:
      return wait_for_all_copies();
    case Operation::ex2:
      return exponentiate(operands);
    case Operation::bar_sync:
      return barrier(static_cast<unsigned>(operands.scalar(0)), static_cast<unsigned>(operands.scalar(1)),
                     where);
  }
}

}  // namespace chorus::cuda_emulation
