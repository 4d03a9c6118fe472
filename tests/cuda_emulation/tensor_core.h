#pragma once

#include "tests/cuda_emulation/device.h"

namespace chorus::cuda_emulation {

// One lane's registers in mma.sync: D = A B + C.
struct MatrixProduct {
  std::uint32_t a[4], b[2];
  float c[4], d[4];
};
void multiply_bf16(void** products, std::uint32_t mask, Location where);
void multiply_f16(void** products, std::uint32_t mask, Location where);
void multiply_tf32(void** products, std::uint32_t mask, Location where);

// One lane's part in ldmatrix: the address of a row it gives, the registers it gets.
struct MatrixLoad {
  std::uint32_t address;
  unsigned matrices;
  bool transpose;
  std::uint32_t registers[4];
};
void load_matrices(void** loads, std::uint32_t mask, Location where);

// 2^x as ex2.approx.ftz gives it.
float exp2_approximately(float x);

}  // namespace chorus::cuda_emulation
