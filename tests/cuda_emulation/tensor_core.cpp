// mma.sync and ldmatrix, by the pictures of fragments in the PTX ISA: group g = lane / 4, position t = lane % 4.

#include "tests/cuda_emulation/tensor_core.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include <cuda_fp16.h>

#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/settings.h"
#include "tests/cuda_emulation/shadow.h"

namespace chorus::cuda_emulation {
namespace {

float from_bf16(std::uint32_t bits) { return std::bit_cast<float>(bits << 16); }
float from_f16(std::uint32_t bits) {
  return __half2float(std::bit_cast<__half>(static_cast<std::uint16_t>(bits)));
}
float from_tf32(std::uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000U); }

// `value` up to 2 ulp off. What decides is `key`, so that equal inputs give equal results, as on a GPU.
float fuzzed(float value, std::uint64_t key) {
  if (settings().fuzz == 0 || !std::isfinite(value) || value == 0.0F) return value;
  key = (key ^ settings().fuzz) * 0x9e3779b97f4a7c15U;
  key = (key ^ key >> 32) * 0xd6e8feb86659fd93U;
  const int ulps = static_cast<int>((key >> 40) % 5) - 2;
  for (int i = 0; i < std::abs(ulps); ++i) value = std::nextafter(value, ulps > 0 ? INFINITY : -INFINITY);
  return value;
}

// D (16 x 8) += A (16 x depth) B (depth x 8)
template <int depth>
void multiply(const float (&a)[16][depth], const float (&b)[depth][8], float (&d)[16][8]) {
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < depth; ++k) {
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
    }
  }
}

template <int depth, typename Read>
void multiply_fragments(void** products, const Read& read) {
  float a[16][depth], b[depth][8], d[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& product = *static_cast<const MatrixProduct*>(products[lane]);
    read(product, lane / 4, lane % 4, a, b);
    for (int i = 0; i < 4; ++i) d[lane / 4 + (i / 2) * 8][(lane % 4) * 2 + i % 2] = product.c[i];
  }
  multiply(a, b, d);
  for (int lane = 0; lane < 32; ++lane) {
    auto& product = *static_cast<MatrixProduct*>(products[lane]);
    for (int i = 0; i < 4; ++i) {
      const float value = d[lane / 4 + (i / 2) * 8][(lane % 4) * 2 + i % 2];
      const std::uint64_t key = std::uint64_t{std::bit_cast<std::uint32_t>(value)} << 32 | product.a[0];
      product.d[i] = fuzzed(value, key);
    }
  }
}

// Two elements in each register.
template <float (*convert)(std::uint32_t)>
void multiply_halves(void** products) {
  multiply_fragments<16>(products, [](const MatrixProduct& product, int g, int t, auto& a, auto& b) {
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 4; ++i) {
        a[g + i % 2 * 8][t * 2 + half + i / 2 * 8] = convert(product.a[i] >> (16 * half) & 0xffff);
      }
      for (int i = 0; i < 2; ++i) b[t * 2 + half + i * 8][g] = convert(product.b[i] >> (16 * half) & 0xffff);
    }
  });
}

// The address comes from one lane and serves others: the reading is that lane's.
void check_row(unsigned lane, const void* row, Location where) {
  Thread* reader = current;
  current = &block->threads[std::size_t{reader->warp} * warp_size + lane];
  check_access(row, 16, Access::read, where, nullptr);
  current = reader;
}

}  // namespace

void multiply_bf16(void** products, std::uint32_t, Location) { multiply_halves<from_bf16>(products); }
void multiply_f16(void** products, std::uint32_t, Location) { multiply_halves<from_f16>(products); }

void multiply_tf32(void** products, std::uint32_t, Location) {
  multiply_fragments<8>(products, [](const MatrixProduct& product, int g, int t, auto& a, auto& b) {
    for (int i = 0; i < 4; ++i) a[g + i % 2 * 8][t + i / 2 * 4] = from_tf32(product.a[i]);
    for (int i = 0; i < 2; ++i) b[t + i * 4][g] = from_tf32(product.b[i]);
  });
}

void load_matrices(void** loads, std::uint32_t, Location where) {
  const auto of_lane = [&](unsigned lane) -> MatrixLoad& { return *static_cast<MatrixLoad*>(loads[lane]); };
  const unsigned matrices = of_lane(0).matrices;
  const bool transpose = of_lane(0).transpose;
  for (unsigned matrix = 0; matrix < matrices; ++matrix) {
    const std::uint16_t* rows[8];
    unsigned uses_of_bank[32] = {}, cycles = 0;
    for (unsigned row = 0; row < 8; ++row) {
      const unsigned lane = matrix * 8 + row, address = of_lane(lane).address;
      if (address % 16 != 0)
        report(where, "ldmatrix: the address {} of lane {} is not a multiple of 16", address, lane);
      rows[row] = static_cast<const std::uint16_t*>(shared_pointer(address, 16, false, where));
      for (unsigned word = 0; word < 4; ++word)
        cycles = std::max(cycles, ++uses_of_bank[(address / 4 + word) % 32]);
      if (checked) check_row(lane, rows[row], where);
    }
    ++bank_conflicts().phases;
    bank_conflicts().cycles += cycles;
    for (unsigned lane = 0; lane < 32; ++lane) {
      const unsigned g = lane / 4, t = lane % 4;
      const std::uint32_t low = transpose ? rows[t * 2][g] : rows[g][t * 2];
      const std::uint32_t high = transpose ? rows[t * 2 + 1][g] : rows[g][t * 2 + 1];
      of_lane(lane).registers[matrix] = low | high << 16;
    }
  }
}

float exp2_approximately(float x) {
  constexpr float smallest_normal = 0x1p-126F;
  if (std::abs(x) < smallest_normal) x = 0.0F;
  const float result = std::exp2(x);
  if (result < smallest_normal) return 0.0F;
  return fuzzed(result, std::bit_cast<std::uint32_t>(x));
}

}  // namespace chorus::cuda_emulation
