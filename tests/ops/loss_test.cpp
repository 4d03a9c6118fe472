#include "tests/ops/operator_test.h"

namespace chorus {
namespace {

class LossTest : public OperatorTest {};
INSTANTIATE_TEST_SUITE_P(Backends, LossTest, every_backend_and_type(), parameter_name);

const double infinity = std::numeric_limits<double>::infinity();

TEST_P(LossTest, LogSumExp) {
  for (const std::int64_t width : {1, 7, 64, 1023, 1025, 32000}) {
    const Both logits = random_accumulator({3, width}, -30, 30), lse = random_accumulator({3});
    run([&](Backend& backend, Side s) { backend.log_sum_exp(lse[s], logits[s]); });
    EXPECT_TRUE(near(lse, 8 * unit_f32, 2 * unit_f32)) << width;
  }
}

TEST_P(LossTest, LogSumExpOfHugeLogits) {
  const Both logits = both(values(DType::f32, {2, 3}, {3e38, 3e38, -3e38, -3e38, -3.1e38, -3.2e38}));
  const Both lse = random_accumulator({2});
  run([&](Backend& backend, Side s) { backend.log_sum_exp(lse[s], logits[s]); });
  EXPECT_TRUE(near(lse, 0, 2 * unit_f32));
}

TEST_P(LossTest, NothingSumsToMinusInfinity) {
  const Both logits = random_accumulator({2, 0}), lse = random_accumulator({2});
  const Both masked =
      both(values(DType::f32, {2, 3}, {-infinity, -infinity, -infinity, -infinity, 2, -infinity}));
  const Both masked_lse = random_accumulator({2});
  run([&](Backend& backend, Side s) {
    backend.log_sum_exp(lse[s], logits[s]);
    backend.log_sum_exp(masked_lse[s], masked[s]);
  });
  EXPECT_TRUE(near(lse, 0, 0));
  EXPECT_EQ(lse.tested.download().at(1), -infinity);
  EXPECT_TRUE(near(masked_lse, 0, 0));
}

TEST_P(LossTest, CombinedPartsEqualTheWhole) {
  // The third part is an empty shard.
  const Both parts =
      both(values(DType::f32, {3, 4},
                  {1, -5, -infinity, 80, 2, 90, -infinity, 80, -infinity, -infinity, -infinity, -infinity}));
  const Both lse = random_accumulator({4});
  run([&](Backend& backend, Side s) { backend.combine_log_sum_exp(lse[s], parts[s]); });
  EXPECT_TRUE(near(lse, 0, 4 * unit_f32));
}

TEST_P(LossTest, NanIsNotHidden) {
  const auto backend = std::get<0>(GetParam()).make();
  const double nan = std::nan("");
  const DeviceTensor lse(*backend, DType::f32, {3});
  const DeviceTensor logits(
      *backend, values(DType::f32, {3, 3}, {1, nan, 2, nan, nan, nan, -infinity, nan, -infinity}));
  backend->log_sum_exp(lse, logits);
  for (std::int64_t m = 0; m < 3; ++m) EXPECT_TRUE(std::isnan(lse.download().at(m))) << m;
}

TEST_P(LossTest, InfinityIsTheLargest) {
  const Both logits = both(values(DType::f32, {2, 3}, {1, infinity, 2, infinity, -infinity, infinity}));
  const Both lse = random_accumulator({2});
  run([&](Backend& backend, Side s) { backend.log_sum_exp(lse[s], logits[s]); });
  for (std::int64_t m = 0; m < 2; ++m) EXPECT_EQ(lse.tested.download().at(m), infinity) << m;
}

TEST_P(LossTest, TargetLogProbabilityOfTheShard) {
  const Both logits = random_accumulator({4, 10}), lse = random_accumulator({4}),
             out = random_accumulator({6});
  const Both rows = index<std::int32_t>({0, 0, 1, 3, 3, 3}),
             tokens = index<std::int32_t>({20, 29, 30, 19, 25, 0});
  run([&](Backend& backend, Side s) {
    backend.target_log_probability(out[s], logits[s], lse[s], rows[s], tokens[s], 20);
  });
  EXPECT_TRUE(near(out, 0, unit_f32));
  EXPECT_EQ(out.tested.download().at(2), 0);
}

TEST_P(LossTest, CrossEntropyBackward) {
  for (const std::int64_t width : {1, 10, 65, 3000}) {
    const Both logits = random_accumulator({5, width}, -3, 3), lse = random_accumulator({5}, 3, 9);
    // Row 1 has no target, row 3 the same one twice, and one outside the shard.
    const Both rows = index<std::int32_t>({0, 2, 3, 3, 3, 4});
    const auto last = static_cast<std::int32_t>(width - 1);
    const Both tokens = index<std::int32_t>({100, 100 + last, 100, 100, 99, 100 + last / 2});
    const Both dlogits = random({5, width}), weights = random_accumulator({6}, 0, 1);
    run([&](Backend& backend, Side s) {
      backend.cross_entropy_backward(dlogits[s], logits[s], lse[s], rows[s], tokens[s], weights[s], 100,
                                     0.01);
    });
    EXPECT_TRUE(near(dlogits, 0.01 * 8 * unit_f32, 1.01 * unit() + 32 * unit_f32)) << width;
  }
}

TEST_P(LossTest, ManyTargetsOfOneRow) {
  const Both logits = random_accumulator({2, 40}, -3, 3), lse = random_accumulator({2}, 3, 4);
  std::vector<std::int32_t> list(600);
  for (std::size_t i = 0; i < list.size(); ++i) list[i] = static_cast<std::int32_t>(i * i % 47);
  const Both rows = index(std::vector<std::int32_t>(600, 1)), tokens = index(list), dlogits = random({2, 40}),
             weights = random_accumulator({600}, 0, 1);
  run([&](Backend& backend, Side s) {
    backend.cross_entropy_backward(dlogits[s], logits[s], lse[s], rows[s], tokens[s], weights[s], 0, 0.01);
  });
  EXPECT_TRUE(near(dlogits, 6 * 32 * unit_f32, 1.01 * unit() + 32 * unit_f32));
}

// A weight is a share of the scale: equal weights in its place give the same bits.
TEST_P(LossTest, EqualWeightsScaleTheGradient) {
  const auto backend = std::get<0>(GetParam()).make();
  const DeviceTensor logits(*backend, random_tensor(DType::f32, {3, 70}, 1, -3, 3)),
      lse(*backend, values(DType::f32, {3}, {5, 5, 5})), by_weight(*backend, dtype(), {3, 70}),
      by_scale(*backend, dtype(), {3, 70}), rows(*backend, integers(DType::i32, std::vector{0, 0, 2})),
      tokens(*backend, integers(DType::i32, std::vector{3, 3, 69})),
      quarter(*backend, values(DType::f32, {3}, {0.25, 0.25, 0.25})),
      one(*backend, values(DType::f32, {3}, {1, 1, 1})), zero(*backend, DType::f32, {3});
  backend->cross_entropy_backward(by_weight, logits, lse, rows, tokens, quarter, 0, 2);
  backend->cross_entropy_backward(by_scale, logits, lse, rows, tokens, one, 0, 0.5);
  EXPECT_TRUE(is_same(by_weight.download(), by_scale.download()));
  backend->cross_entropy_backward(by_weight, logits, lse, rows, tokens, zero, 0, 2);
  EXPECT_TRUE(is_near(by_weight.download(), HostTensor(dtype(), {3, 70}), 0));
}

TEST_P(LossTest, NanReachesTheGradient) {
  const auto backend = std::get<0>(GetParam()).make();
  const DeviceTensor logits(*backend, values(DType::f32, {1, 3}, {1, std::nan(""), std::nan("")}));
  const DeviceTensor lse(*backend, values(DType::f32, {1}, {2})), dlogits(*backend, dtype(), {1, 3});
  const DeviceTensor row(*backend, integers(DType::i32, std::vector<std::int32_t>{0})),
      token(*backend, integers(DType::i32, std::vector<std::int32_t>{2})),
      weight(*backend, values(DType::f32, {1}, {1}));
  backend->cross_entropy_backward(dlogits, logits, lse, row, token, weight, 0, 1);
  const HostTensor result = dlogits.download();
  for (std::int64_t v = 0; v < 3; ++v) EXPECT_EQ(std::isnan(result.at(v)), v > 0) << v;
}

TEST_P(LossTest, RowsWithoutTargetsHaveNoGradient) {
  const Both logits = both(values(DType::f32, {1, 2}, {3e38, 1})),
             lse = both(values(DType::f32, {1}, {-3e38}));
  const Both none = index(std::vector<std::int32_t>{}), dlogits = random({1, 2}),
             no_weights = random_accumulator({0});
  run([&](Backend& backend, Side s) {
    backend.cross_entropy_backward(dlogits[s], logits[s], lse[s], none[s], none[s], no_weights[s], 0, 1);
  });
  EXPECT_TRUE(near(dlogits, 0, 0));
}

}  // namespace
}  // namespace chorus
