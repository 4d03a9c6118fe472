// Fragments by the formula with which CuTe's documentation describes them: the element of a lane and register is at
// sum(coordinate x stride), in column order.

#include <bit>
#include <cmath>
#include <random>

#include <cuda_bf16.h>

#include "tests/cuda_emulation/device_test.h"

namespace chorus::cuda_emulation {
namespace {

class TensorCoreTest : public DeviceTest {
 protected:
  float any() { return std::uniform_real_distribution<float>(-1, 1)(generator_); }

 private:
  std::mt19937 generator_{7};
};

std::uint16_t bits_of(float x) { return std::bit_cast<std::uint16_t>(__float2bfloat16_rn(x)); }
float bf16(float x) { return __bfloat162float(__float2bfloat16_rn(x)); }

struct Place {
  int row, column;
};
// A: 16 x 16; lanes (4, 8) with strides (32, 1), elements (2, 2, 2) with strides (16, 8, 128)
Place place_in_a(int lane, int element) {
  const int i = lane % 4 * 32 + lane / 4 + element % 2 * 16 + element / 2 % 2 * 8 + element / 4 * 128;
  return {i % 16, i / 16};
}
// B: 8 x 16, of columns and depth; lanes (4, 8) with strides (16, 1), elements (2, 2) with strides (8, 64)
Place place_in_b(int lane, int element) {
  const int i = lane % 4 * 16 + lane / 4 + element % 2 * 8 + element / 2 * 64;
  return {i % 8, i / 8};
}
// C: 16 x 8; lanes (4, 8) with strides (32, 1), elements (2, 2) with strides (16, 8)
Place place_in_c(int lane, int element) {
  const int i = lane % 4 * 32 + lane / 4 + element % 2 * 16 + element / 2 * 8;
  return {i % 16, i / 16};
}

TEST_F(TensorCoreTest, Bf16FragmentsLieWhereTheFormulaSays) {
  float a[16][16], b[8][16], c[16][8];
  for (auto& row : a)
    for (float& x : row) x = bf16(any());
  for (auto& row : b)
    for (float& x : row) x = bf16(any());
  for (auto& row : c)
    for (float& x : row) x = any();
  std::vector<Fragments> in(1);
  for (int lane = 0; lane < 32; ++lane) {
    for (int e = 0; e < 8; ++e) {
      const Place at = place_in_a(lane, e);
      in[0].a[lane][e / 2] |= std::uint32_t{bits_of(a[at.row][at.column])} << (16 * (e % 2));
    }
    for (int e = 0; e < 4; ++e) {
      const Place at_b = place_in_b(lane, e), at_c = place_in_c(lane, e);
      in[0].b[lane][e / 2] |= std::uint32_t{bits_of(b[at_b.row][at_b.column])} << (16 * (e % 2));
      in[0].c[lane][e] = c[at_c.row][at_c.column];
    }
  }
  auto* out = reinterpret_cast<float(*)[4]>(allocate<float>(128));
  ASSERT_EQ(multiply_bf16_fragments(upload(in), out, stream()), cudaSuccess);
  const std::vector<float> d = download(&out[0][0], 128);
  for (int lane = 0; lane < 32; ++lane) {
    for (int e = 0; e < 4; ++e) {
      const Place at = place_in_c(lane, e);
      double expected = c[at.row][at.column];
      for (int k = 0; k < 16; ++k) expected += double{a[at.row][k]} * b[at.column][k];
      EXPECT_NEAR(d[static_cast<std::size_t>(lane * 4 + e)], expected, 1e-5) << lane << " " << e;
    }
  }
}

TEST_F(TensorCoreTest, Tf32DropsTheLastBits) {
  std::vector<Fragments> in(1);
  for (int lane = 0; lane < 32; ++lane) {
    for (auto& x : in[0].a[lane]) x = std::bit_cast<std::uint32_t>(1.0F + 0x1p-11F);  // 1 in tf32
    for (auto& x : in[0].b[lane]) x = std::bit_cast<std::uint32_t>(1.0F + 0x1p-10F);
    for (auto& x : in[0].c[lane]) x = 0.5F;
  }
  auto* out = reinterpret_cast<float(*)[4]>(allocate<float>(128));
  ASSERT_EQ(multiply_tf32_fragments(upload(in), out, stream()), cudaSuccess);
  EXPECT_THAT(download(&out[0][0], 128), testing::Each(8 * (1.0F + 0x1p-10F) + 0.5F));
}

TEST_F(TensorCoreTest, LdmatrixDealsRowsOrColumns) {
  std::vector<std::uint16_t> matrix(256);
  for (std::size_t i = 0; i < matrix.size(); ++i) matrix[i] = static_cast<std::uint16_t>(i);
  auto* out = reinterpret_cast<std::uint32_t(*)[4]>(allocate<std::uint32_t>(128));
  const std::uint16_t* in = upload(matrix);
  for (const bool transpose : {false, true}) {
    ASSERT_EQ(load_fragments(in, out, transpose, stream()), cudaSuccess);
    const std::vector<std::uint32_t> registers = download(&out[0][0], 128);
    for (unsigned lane = 0; lane < 32; ++lane) {
      for (unsigned m = 0; m < 4; ++m) {  // quarters of the matrix: down, then right
        const unsigned g = lane / 4, t = lane % 4 * 2, top = m % 2 * 8, left = m / 2 * 8;
        const auto at = [&](unsigned row, unsigned column) { return (top + row) * 16 + left + column; };
        const unsigned low = transpose ? at(t, g) : at(g, t), high = transpose ? at(t + 1, g) : at(g, t + 1);
        EXPECT_EQ(registers[lane * 4 + m], (low | high << 16)) << lane << " " << m;
      }
    }
  }
}

TEST_F(TensorCoreTest, Exp2FlushesDenormals) {
  const std::vector<float> in{0, 1, -1, 0.5F, -126, -127, 0x1p-130F, -INFINITY, INFINITY, NAN};
  float* out = allocate<float>(in.size());
  ASSERT_EQ(exp2_all(upload(in), out, static_cast<int>(in.size()), stream()), cudaSuccess);
  const std::vector<float> result = download(out, in.size());
  const std::vector<float> expected{1, 2, 0.5F, std::exp2(0.5F), 0x1p-126F, 0, 1, 0, INFINITY};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(result[i], expected[i]) << in[i];
  EXPECT_TRUE(std::isnan(result.back()));
}

TEST_F(TensorCoreTest, FuzzIsSmallAndRepeatable) {
  std::vector<float> in(1000);
  for (float& x : in) x = 4 * any();
  float* device_in = upload(in);
  float* out = allocate<float>(in.size());
  const auto run = [&](std::uint64_t seed) {
    Settings fuzzy = settings();
    fuzzy.fuzz = seed;
    configure(fuzzy);
    EXPECT_EQ(exp2_all(device_in, out, static_cast<int>(in.size()), stream()), cudaSuccess);
    return download(out, in.size());
  };
  const std::vector<float> exact = run(0), first = run(1);
  EXPECT_EQ(run(1), first);
  EXPECT_NE(run(2), first);
  int most = 0, least = 0;
  for (std::size_t i = 0; i < in.size(); ++i) {
    const int ulps = std::bit_cast<int>(first[i]) - std::bit_cast<int>(exact[i]);
    most = std::max(most, ulps);
    least = std::min(least, ulps);
  }
  EXPECT_EQ(most, 2);
  EXPECT_EQ(least, -2);
}

TEST_F(TensorCoreTest, AsynchronousCopiesFillWithZeros) {
  float* out = allocate<float>(4);
  ASSERT_EQ(copy_partly(upload(counted(4)), out, 8, stream()), cudaSuccess);
  EXPECT_EQ(download(out, 4), (std::vector<float>{0, 1, 0, 0}));
}

}  // namespace
}  // namespace chorus::cuda_emulation
