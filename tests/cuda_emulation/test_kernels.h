#pragma once

// Kernels of the emulation's own tests.

#include <cstdint>

#include <cuda_runtime.h>

namespace chorus::cuda_emulation {

// What is wrong with a kernel that is to compute out[i] = a + b, where a and b are in[] at the rotated place of i in its
// block and at that of its neighbour.
enum class Bug {
  none,
  missing_barrier,
  copy_not_waited_for,
  out_of_bounds,
  out_of_bounds_shared,
  uninitialized_shared,
  race_between_blocks,
  race_after_shuffle,
  divergent_shuffle,
  divergent_barrier,
  barrier_without_all,
  misaligned,
  endless_recursion
};
constexpr int rotated_block = 128;
cudaError_t rotated_sum(Bug bug, const float* in, float* out, int count, cudaStream_t stream);

// out[block] = sum of the block's part of in[]
cudaError_t sum_blocks(const float* in, float* out, int blocks, int per_block, cudaStream_t stream);
// data[i] = value at one place
cudaError_t write_at(float* data, std::int64_t i, float value, cudaStream_t stream);
// Reads data[i] and leaves it.
cudaError_t read_at(const float* data, std::int64_t i, float* out, cudaStream_t stream);
// out[0] = number of threads, counted by atomics
cudaError_t count_threads(unsigned* out, int blocks, cudaStream_t stream);

// One warp, its registers one lane after the other.
struct Fragments {
  std::uint32_t a[32][4], b[32][2];
  float c[32][4];
};
cudaError_t multiply_bf16_fragments(const Fragments* in, float (*out)[4], cudaStream_t stream);
cudaError_t multiply_tf32_fragments(const Fragments* in, float (*out)[4], cudaStream_t stream);
// 16 x 16 elements in rows, to the registers of ldmatrix .x4, with or without .trans.
cudaError_t load_fragments(const std::uint16_t* matrix, std::uint32_t (*out)[4], bool transpose,
                           cudaStream_t stream);
cudaError_t exp2_all(const float* in, float* out, int count, cudaStream_t stream);
// Copies 16 bytes by cp.async, of which `valid` are read.
cudaError_t copy_partly(const float* in, float* out, unsigned valid, cudaStream_t stream);

// Asks for so much shared memory, after cudaFuncSetAttribute or without.
cudaError_t use_shared_memory(std::size_t bytes, bool ask, cudaStream_t stream);

}  // namespace chorus::cuda_emulation
