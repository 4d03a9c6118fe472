#include "tests/cuda_emulation/fiber.h"

#include <cstdint>
#include <vector>

#include <sys/mman.h>

// Saves the registers that a function must preserve (System V ABI), changes stacks, and goes on where that stack was
// left. The jump instead of a return spares the processor's return predictor, which would be wrong each time.
extern "C" void chorus_switch_stack(void** save, void* load);
asm(R"(
.text
.globl chorus_switch_stack
.type chorus_switch_stack,@function
chorus_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmp *%rcx
.size chorus_switch_stack,.-chorus_switch_stack
)");

namespace chorus::cuda_emulation {
namespace {

constexpr std::size_t saved_registers = 6;

void* scheduler_stack_pointer = nullptr;
void* scheduler_sanitizer_state = nullptr;
const void* scheduler_stack = nullptr;
std::size_t scheduler_stack_bytes = 0;

// Stacks are kept for all blocks to come. Below each lies a page that catches an overflow.
char* stack_of(unsigned index) {
  static std::vector<char*> stacks;
  constexpr std::size_t guard = 4096;
  while (stacks.size() <= index) {
    auto* memory = static_cast<char*>(mmap(nullptr, stack_bytes + guard, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    mprotect(memory, guard, PROT_NONE);
    stacks.push_back(memory + guard);
  }
  return stacks[index];
}

}  // namespace

void prepare(Fiber& fiber, unsigned index, void (*body)()) {
  fiber.stack_begin = stack_of(index);
  fiber.stack_end = fiber.stack_begin + stack_bytes;
  fiber.sanitizer_state = nullptr;
  // Tops at different offsets: else all of them would compete for the same cache set.
  auto* top = reinterpret_cast<void**>(fiber.stack_end - (index % 32) * 128);
  *--top = nullptr;  // where a return address would be; keeps the stack aligned as after a call
  *--top = reinterpret_cast<void*>(body);
  for (std::size_t i = 0; i < saved_registers; ++i) *--top = nullptr;
  fiber.stack_pointer = top;
}

void resume(Fiber& fiber) {
  before_switch(&scheduler_sanitizer_state, fiber.stack_begin, stack_bytes);
  chorus_switch_stack(&scheduler_stack_pointer, fiber.stack_pointer);
  after_switch(scheduler_sanitizer_state, nullptr, nullptr);
}

void suspend(Fiber& fiber) {
  before_switch(&fiber.sanitizer_state, scheduler_stack, scheduler_stack_bytes);
  chorus_switch_stack(&fiber.stack_pointer, scheduler_stack_pointer);
  after_switch(fiber.sanitizer_state, &scheduler_stack, &scheduler_stack_bytes);
}

void finish(Fiber& fiber) {
  before_switch(nullptr, scheduler_stack, scheduler_stack_bytes);
  chorus_switch_stack(&fiber.stack_pointer, scheduler_stack_pointer);
  __builtin_unreachable();
}

void started() { after_switch(nullptr, &scheduler_stack, &scheduler_stack_bytes); }

}  // namespace chorus::cuda_emulation
