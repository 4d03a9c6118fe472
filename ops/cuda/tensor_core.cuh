#pragma once

// The tensor core and what feeds it: instructions of every GPU from compute capability 8.0 on (PTX ISA 7.0). In the
// fragments of mma, lane l holds rows l / 4 and l / 4 + 8, columns 2 (l % 4) and 2 (l % 4) + 1 of each 8 columns.

#include "ops/cuda/device.cuh"

namespace chorus::cuda {

// d [16, 8] += a [16, 16] b [16, 8]
__device__ __forceinline__ void multiply_accumulate(float (&d)[4], const std::uint32_t (&a)[4],
                                                    std::uint32_t b0, std::uint32_t b1) {
  CHORUS_PTX(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};",
      (CHORUS_F_IO(d[0]), CHORUS_F_IO(d[1]), CHORUS_F_IO(d[2]), CHORUS_F_IO(d[3])),
      (CHORUS_R_I(a[0]), CHORUS_R_I(a[1]), CHORUS_R_I(a[2]), CHORUS_R_I(a[3]), CHORUS_R_I(b0),
       CHORUS_R_I(b1)));
}

// Four 8x8 matrices; lane l gives the shared address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void load_matrices(std::uint32_t (&r)[4], std::uint32_t row) {
  CHORUS_PTX("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];",
             (CHORUS_R_O(r[0]), CHORUS_R_O(r[1]), CHORUS_R_O(r[2]), CHORUS_R_O(r[3])), (CHORUS_R_I(row)));
}
// The same, each matrix transposed.
__device__ __forceinline__ void load_transposed_matrices(std::uint32_t (&r)[4], std::uint32_t row) {
  CHORUS_PTX("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];",
             (CHORUS_R_O(r[0]), CHORUS_R_O(r[1]), CHORUS_R_O(r[2]), CHORUS_R_O(r[3])), (CHORUS_R_I(row)));
}

// Starts to copy 16 bytes from global to shared memory; writes zeros and reads nothing unless `valid`.
__device__ __forceinline__ void start_copy(void* shared, const void* global, bool valid) {
  CHORUS_PTX("cp.async.cg.shared.global [%0], [%1], 16, %2;", (),
             (CHORUS_R_I(shared_address(shared)), CHORUS_L_I(global), CHORUS_R_I(valid ? 16U : 0U)));
}
// Closes the group of copies started since the last call; the group may be empty.
__device__ __forceinline__ void commit_copies() { CHORUS_PTX("cp.async.commit_group;", (), ()); }
// Waits until at most `pending` of this thread's groups are under way. Others see the data after a barrier.
template <int pending>
__device__ __forceinline__ void wait_for_copies() {
  CHORUS_PTX("cp.async.wait_group %0;", (), (CHORUS_N_I(pending)));
}

// 2^x
__device__ __forceinline__ float fast_exp2(float x) {
  float y;
  CHORUS_PTX("ex2.approx.ftz.f32 %0, %1;", (CHORUS_F_O(y)), (CHORUS_F_I(x)));
  return y;
}

__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  std::uint32_t word;
  memcpy(&word, &pair, sizeof word);
  return word;
}

}  // namespace chorus::cuda
