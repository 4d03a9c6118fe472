#pragma once

// What a kernel's thread may ask of the emulation. The functions in builtins.h and ptx.h are made of these.

#include <cstddef>
#include <cstdint>
#include <source_location>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

// Kernels take their shared memory from dynamic_shared_memory(); the emulation cannot see another.
#undef __shared__
#define __shared__ CHORUS_kernels_must_not_declare_shared_memory
#define __launch_bounds__(...)

namespace chorus::cuda_emulation {

using Location = std::source_location;

struct Thread;
inline Thread* current = nullptr;  // whose fiber runs; null: host code
inline uint3 thread_index, block_index;
inline dim3 block_size, grid_size;

void* dynamic_shared_memory();
// Between a pointer and an offset into the window of shared memory, which PTX counts from.
unsigned shared_offset(const void* pointer, Location where);
void* shared_pointer(unsigned offset, unsigned bytes, bool is_write, Location where);

// bar.sync id, threads; 0 threads: the whole block.
void barrier(unsigned id, unsigned threads, Location where);
struct Votes {
  int yes, all;
};
Votes barrier_with_vote(bool vote, Location where);

// All lanes of `mask` meet here; the last to come runs operation(arguments by lane, mask, where) for all of them.
using Collective = void (*)(void** arguments, std::uint32_t mask, Location where);
void collective(Collective operation, void* argument, std::uint32_t mask, Location where);
unsigned lane();

struct Shuffle {
  std::uint64_t in, out;
  int source;
};
void shuffle_lanes(void** shuffles, std::uint32_t mask, Location where);
struct Ballot {
  bool vote;
  std::uint32_t votes;
};
void count_ballots(void** ballots, std::uint32_t mask, Location where);
struct Reduction {
  enum class Operation { add, minimum, maximum, bit_and, bit_or, bit_xor };
  Operation operation;
  std::int64_t in, out;
};
void reduce_lanes(void** reductions, std::uint32_t mask, Location where);
void synchronize_warp(void** unused, std::uint32_t mask, Location where);

void check_atomic(void* address, unsigned bytes, Location where);
// Vector accesses must be aligned to their size.
void check_vector(const void* address, unsigned bytes, bool is_write, Location where);

}  // namespace chorus::cuda_emulation
