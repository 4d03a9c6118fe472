#pragma once

// What the checked build knows of each byte of device and shared memory: whether it was written, and who accessed it
// last. Pages of it come from the system as zeros, which mean "never": nothing has to be cleared for an allocation.

#include <cstddef>

#include "tests/cuda_emulation/device.h"

namespace chorus::cuda_emulation {

// The kernels are instrumented: their accesses are told to check_access().
inline bool checked = false;

enum class Access { read, write, atomic };

// By the current thread. Reports accesses out of bounds, to host memory and freed memory, reads of what was never
// written, and races: two accesses, one of them a write, that no barrier orders. `pc` is where the access is if `where`
// does not tell.
void check_access(const void* address, unsigned bytes, Access access, Location where, void* pc);

// What the runtime and the libraries write and read.
void mark_written(const void* address, std::size_t bytes);
// The offset of the first byte that was never written, or -1.
std::ptrdiff_t first_unwritten(const void* address, std::size_t bytes);

void begin_launch();
void forget_shared();                                          // what was written to it, when a block begins
void forget_contents(const void* address, std::size_t bytes);  // of freed memory
void forget_accesses(const void* address, std::size_t bytes);

}  // namespace chorus::cuda_emulation
