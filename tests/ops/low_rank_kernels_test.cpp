#include <algorithm>
#include <cmath>
#include <ostream>
#include <vector>

#include <gtest/gtest.h>

#include "ops/cuda/cuda_backend.h"
#include "ops/cuda/low_rank.h"
#include "tests/support/reference_backend.h"
#include "tests/support/tensors.h"

namespace chorus {
namespace {

struct Path {
  std::int64_t rank;
  float dropout = 0;
};
struct Case {
  std::int64_t rows, columns;
  std::vector<Path> paths;
  std::int64_t first_feature = 0;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.rows << " x " << c.columns << " from " << c.first_feature;
  for (const Path& path : c.paths) *out << ", rank " << path.rank << " dropout " << path.dropout;
}

// Each operator against f64, of a group as `c` says. Values are of random sign, so that errors of rounding grow with the
// root of the number of terms.
class LowRankKernelsTest : public ::testing::TestWithParam<Case> {
 protected:
  static constexpr double unit = 0x1p-8, unit_f32 = 0x1p-24;

  std::size_t size() const { return c.paths.size(); }
  DropoutMask mask(std::size_t i) const {
    return {.probability = c.paths[i].dropout,
            .seed = 0x123456789abcULL,
            .step = 3,
            .stream = static_cast<std::uint32_t>(10 + i),
            .first_feature = c.first_feature};
  }
  HostTensor random(DType dtype, const Shape& shape) { return random_tensor(dtype, shape, ++seed); }
  // Of a sum of `terms` products below 1, of which one path's survivors are the largest.
  double error_of_sum(std::int64_t terms) const {
    double scale = 1;
    for (std::size_t i = 0; i < size(); ++i) scale = std::max(scale, static_cast<double>(mask(i).scale()));
    return 4 * unit_f32 * std::sqrt(static_cast<double>(terms + 1)) * scale * static_cast<double>(size());
  }
  std::vector<DeviceTensor> upload(const std::vector<HostTensor>& list) {
    std::vector<DeviceTensor> result;
    result.reserve(list.size());
    for (const HostTensor& each : list) result.emplace_back(backend, each);
    return result;
  }
  // The same values for the reference.
  DeviceTensor as_f64(const HostTensor& values) { return {reference, converted(values, DType::f64)}; }
  std::vector<DeviceTensor> as_f64(const std::vector<HostTensor>& list) {
    std::vector<DeviceTensor> result;
    result.reserve(list.size());
    for (const HostTensor& each : list) result.push_back(as_f64(each));
    return result;
  }
  // One tensor for each path, of its rank in place of 0.
  std::vector<HostTensor> of_paths(DType dtype, std::int64_t rows, std::int64_t columns) {
    std::vector<HostTensor> result;
    for (const Path& path : c.paths)
      result.push_back(random(dtype, {rows == 0 ? path.rank : rows, columns == 0 ? path.rank : columns}));
    return result;
  }

  const Case c = GetParam();
  CudaBackend backend;
  ReferenceBackend reference;
  std::uint64_t seed = 0;
  std::vector<std::int64_t> ids = [this] {
    std::vector<std::int64_t> list(static_cast<std::size_t>(c.rows));
    for (std::size_t n = 0; n < list.size(); ++n)
      list[n] = static_cast<std::int64_t>((n * 2654435761U) % 100003U);
    return list;
  }();
  const DeviceTensor token_ids{backend, integers(DType::i64, ids)};
  const DeviceTensor reference_ids{reference, integers(DType::i64, ids)};
};

TEST_P(LowRankKernelsTest, Down) {
  const HostTensor x = random(DType::bf16, {c.rows, c.columns});
  const std::vector<HostTensor> a = of_paths(DType::bf16, 0, c.columns),
                                before = of_paths(DType::bf16, c.rows, 0);
  const DeviceTensor device_x(backend, x), expected_x = as_f64(x);
  const std::vector<DeviceTensor> device_a = upload(a), u = upload(before), expected_a = as_f64(a),
                                  expected = as_f64(before);
  std::vector<LowRankDown> group, of_reference;
  for (std::size_t i = 0; i < size(); ++i) {
    group.push_back({.u = u[i], .a = device_a[i].view(), .mask = mask(i)});
    of_reference.push_back({.u = expected[i], .a = expected_a[i].view(), .mask = mask(i)});
  }
  ASSERT_TRUE(cuda::low_rank_down(group, device_x.view(), token_ids.view(), backend.stream()));
  reference.low_rank_down(of_reference, expected_x.view(), reference_ids.view(), {});
  for (std::size_t i = 0; i < size(); ++i)
    EXPECT_TRUE(is_near(u[i].download(), expected[i].download(), error_of_sum(c.columns), 1.01 * unit)) << i;
}

TEST_P(LowRankKernelsTest, InputGradient) {
  const HostTensor dx = random(DType::bf16, {c.rows, c.columns});
  const std::vector<HostTensor> a = of_paths(DType::bf16, 0, c.columns),
                                du = of_paths(DType::bf16, c.rows, 0);
  const DeviceTensor device_dx(backend, dx), expected = as_f64(dx);
  const std::vector<DeviceTensor> device_a = upload(a), device_du = upload(du), expected_a = as_f64(a),
                                  expected_du = as_f64(du);
  std::vector<LowRankInputGradient> group, of_reference;
  for (std::size_t i = 0; i < size(); ++i) {
    group.push_back({.du = device_du[i].view(), .a = device_a[i].view(), .mask = mask(i)});
    of_reference.push_back({.du = expected_du[i].view(), .a = expected_a[i].view(), .mask = mask(i)});
  }
  ASSERT_TRUE(cuda::low_rank_input_gradient(device_dx, group, token_ids.view(), backend.stream()));
  reference.low_rank_input_gradient(expected, of_reference, reference_ids.view(), {});
  EXPECT_TRUE(is_near(device_dx.download(), expected.download(), error_of_sum(32), 1.01 * unit));
}

TEST_P(LowRankKernelsTest, FactorGradient) {
  const HostTensor x = random(DType::bf16, {c.rows, c.columns});
  const std::vector<HostTensor> da = of_paths(DType::f32, 0, c.columns),
                                du = of_paths(DType::bf16, c.rows, 0);
  const DeviceTensor device_x(backend, x), expected_x = as_f64(x);
  const std::vector<DeviceTensor> device_da = upload(da), device_du = upload(du), expected = as_f64(da),
                                  expected_du = as_f64(du);
  std::vector<LowRankFactorGradient> group, of_reference;
  for (std::size_t i = 0; i < size(); ++i) {
    group.push_back({.da = device_da[i], .du = device_du[i].view(), .mask = mask(i)});
    of_reference.push_back({.da = expected[i], .du = expected_du[i].view(), .mask = mask(i)});
  }
  ASSERT_TRUE(cuda::low_rank_factor_gradient(group, device_x.view(), token_ids.view(), backend.stream()));
  reference.low_rank_factor_gradient(of_reference, expected_x.view(), reference_ids.view(), {});
  for (std::size_t i = 0; i < size(); ++i)
    EXPECT_TRUE(is_near(device_da[i].download(), expected[i].download(), error_of_sum(c.rows), 2 * unit_f32))
        << i;
}

// Rows and features that fill no tile, steps of a warp and less, ranks of every alignment, wide and narrow, masks of some paths
// and of all, and what a later rank of several holds.
INSTANTIATE_TEST_SUITE_P(
    Groups, LowRankKernelsTest,
    ::testing::Values(Case{1, 8, {{2}}}, Case{17, 40, {{16}}}, Case{33, 264, {{4}, {8}}},
                      Case{131, 72, {{16}, {16}, {16}}}, Case{19, 1080, {{32}}},
                      Case{45, 520, {{2}, {32}, {6}}}, Case{30, 56, {{18}, {24}}}, Case{301, 24, {{10}}},
                      Case{1, 8, {{2, 0.5F}}}, Case{17, 40, {{16, 0.05F}}, 40},
                      Case{131, 72, {{16, 0.1F}, {16, 0.1F}, {16, 0.1F}}, 72},
                      Case{33, 1096, {{4, 0.3F}, {8}}, 8}, Case{45, 264, {{2}, {32, 0.9F}, {6, 0.2F}}},
                      Case{67, 48, {{18, 0.25F}, {30, 0.5F}}, 1 << 20}, Case{419, 32, {{32, 0.5F}}, 64},
                      Case{530, 16, {{16, 0.05F}, {12, 0.05F}}, 16}, Case{9, 8200, {{8, 0.1F}}},
                      Case{18, 8192, {{16}, {32, 0.4F}}}));

// A group of one path that would be taken, and what changes it.
class LowRankRefusalTest : public ::testing::Test {
 protected:
  struct Tensors {
    DType type = DType::bf16, accumulator = DType::f32;
    std::int64_t columns = 24, rank = 4, shift = 0;
    std::size_t paths = 1;
    std::vector<DropoutMask> masks{{}};
  };

  // Whether each operator takes the group, and nothing has changed where it does not.
  void expect(bool taken, const Tensors& t) {
    const auto shifted = [&](std::int64_t rows, std::int64_t columns, const DeviceTensor& memory) {
      return Tensor(memory.view()).rows(t.shift, t.shift + rows * columns).reshape({rows, columns});
    };
    const std::int64_t rows = 5;
    const DeviceTensor memory_x(backend, random_tensor(t.type, {rows * t.columns + 8}, 1));
    const DeviceTensor memory_a(backend, random_tensor(t.type, {t.rank * t.columns + 8}, 2));
    const DeviceTensor memory_u(backend, random_tensor(t.type, {rows * t.rank + 8}, 3));
    const DeviceTensor memory_da(backend, random_tensor(t.accumulator, {t.rank * t.columns + 8}, 4));
    const Tensor x = shifted(rows, t.columns, memory_x), a = shifted(t.rank, t.columns, memory_a),
                 u = shifted(rows, t.rank, memory_u), da = shifted(t.rank, t.columns, memory_da);
    const DeviceTensor ids(backend, integers(DType::i64, std::vector<std::int64_t>{5, 4, 3, 2, 1}));
    std::vector<LowRankDown> down;
    std::vector<LowRankInputGradient> input;
    std::vector<LowRankFactorGradient> factor;
    for (std::size_t i = 0; i < t.paths; ++i) {
      const DropoutMask mask = t.masks[i % t.masks.size()];
      down.push_back({.u = u, .a = a, .mask = mask});
      input.push_back({.du = u, .a = a, .mask = mask});
      factor.push_back({.da = da, .du = u, .mask = mask});
    }
    const HostTensor x_before = memory_x.download(), u_before = memory_u.download(),
                     da_before = memory_da.download();
    EXPECT_EQ(cuda::low_rank_input_gradient(x, input, ids.view(), backend.stream()), taken);
    EXPECT_EQ(memory_x.download().same_bits(x_before), !taken);
    EXPECT_EQ(cuda::low_rank_factor_gradient(factor, x, ids.view(), backend.stream()), taken);
    EXPECT_EQ(memory_da.download().same_bits(da_before), !taken);
    EXPECT_EQ(cuda::low_rank_down(down, x, ids.view(), backend.stream()), taken);
    EXPECT_EQ(memory_u.download().same_bits(u_before), !taken);
  }

  CudaBackend backend;
};

TEST_F(LowRankRefusalTest, WhatTheKernelsDoNotTakeStaysAsItWas) {
  expect(true, {});
  expect(false, {.type = DType::f32});
  expect(false, {.paths = 0});
  expect(false, {.paths = 4});
  expect(false, {.columns = 20});
  expect(false, {.rank = 3});
  expect(false, {.rank = 34});
  expect(false, {.shift = 4});
  expect(false, {.shift = 1});
}

TEST_F(LowRankRefusalTest, MasksBeginWithADrawAndAreOfOneStep) {
  const DropoutMask mask{.probability = 0.5F, .seed = 7, .step = 1, .first_feature = 16};
  DropoutMask within = mask, of_seed = mask, of_step = mask, of_slice = mask, none = mask;
  within.first_feature = 20;
  of_seed.seed = 8;
  of_step.step = 2;
  of_slice.first_feature = 24;
  expect(true, {.masks = {mask}});
  expect(false, {.masks = {within}});
  for (DropoutMask other : {of_seed, of_step, of_slice}) {
    expect(false, {.paths = 2, .masks = {mask, other}});
  }
  // A mask that drops nothing is none.
  none.probability = 1e-6F;
  none.first_feature = 3;
  expect(true, {.masks = {none}});
}

TEST_F(LowRankRefusalTest, NoTokensAddNothing) {
  const DeviceTensor a(backend, random_tensor(DType::bf16, {4, 24}, 1)),
      da(backend, random_tensor(DType::f32, {4, 24}, 2)), x(backend, DType::bf16, {0, 24}),
      u(backend, DType::bf16, {0, 4}), ids(backend, DType::i64, {0});
  const HostTensor before = da.download();
  const LowRankDown down{.u = u, .a = a.view(), .mask = {.probability = 0.5F}};
  const LowRankInputGradient input{.du = u.view(), .a = a.view(), .mask = {.probability = 0.5F}};
  const LowRankFactorGradient factor{.da = da, .du = u.view(), .mask = {.probability = 0.5F}};
  EXPECT_TRUE(cuda::low_rank_down({&down, 1}, x.view(), ids.view(), backend.stream()));
  EXPECT_TRUE(cuda::low_rank_input_gradient(x, {&input, 1}, ids.view(), backend.stream()));
  EXPECT_TRUE(cuda::low_rank_factor_gradient({&factor, 1}, x.view(), ids.view(), backend.stream()));
  EXPECT_TRUE(is_same(da.download(), before));
}

}  // namespace
}  // namespace chorus
