#pragma once

// A fiber runs one thread of a block. All fibers and the scheduler share one OS thread and switch by hand: 4 ns, where
// swapcontext, which asks the kernel to save signal masks, takes 290.

#include <cstddef>

namespace chorus::cuda_emulation {

struct Fiber {
  void* stack_pointer = nullptr;
  char* stack_begin = nullptr;
  char* stack_end = nullptr;
  void* sanitizer_state = nullptr;
};

// Sets the fiber to begin with body(), which must never return. `index` tells it from the others of its block.
void prepare(Fiber& fiber, unsigned index, void (*body)());
// From the scheduler into a fiber; returns when the fiber calls suspend().
void resume(Fiber& fiber);
void suspend(Fiber& fiber);
// As suspend(), for the last time.
[[noreturn]] void finish(Fiber& fiber);
// The first thing that a fiber does.
void started();

// AddressSanitizer wants to know of switches; one of two files, by how the build is checked. `state` null: the fiber
// that is left never comes back.
extern const std::size_t stack_bytes;
void before_switch(void** state, const void* stack, std::size_t bytes);
void after_switch(void* state, const void** stack_left, std::size_t* bytes_left);

}  // namespace chorus::cuda_emulation
