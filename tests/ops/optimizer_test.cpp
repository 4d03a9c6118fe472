#include "tests/ops/operator_test.h"

namespace chorus {
namespace {

class OptimizerTest : public OperatorTest {};
// Optimizer state is f32, whatever the element type of the model.
INSTANTIATE_TEST_SUITE_P(Backends, OptimizerTest,
                         ::testing::Combine(::testing::ValuesIn(backends_under_test()),
                                            ::testing::Values(DType::f32)),
                         parameter_name);

TEST_P(OptimizerTest, SumOfSquares) {
  for (const std::int64_t n : {0, 1, 7, 16384, 16385, 300000}) {
    const Both x = random({n}, -3, 3), out = random({1});
    run([&](Backend& backend, Side s) { backend.sum_of_squares(out[s], x[s]); });
    EXPECT_TRUE(near(out, 0, 2 * unit_f32)) << n;
  }
}

TEST_P(OptimizerTest, SumOfSquaresDoesNotLoseSmallTerms) {
  HostTensor x(DType::f32, {100001});
  x.set(0, 4096);
  for (std::int64_t i = 1; i < x.elements(); ++i) x.set(i, 0.5);
  const Both values = both(x), out = random({1});
  run([&](Backend& backend, Side s) { backend.sum_of_squares(out[s], values[s]); });
  EXPECT_TRUE(near(out, 0, 2 * unit_f32));
}

TEST_P(OptimizerTest, AdamWOverSeveralSteps) {
  for (const std::int64_t n : {1, 17, 20000}) {
    const Both value = random({n}), m = random({n}, 0, 0), v = random({n}, 0, 0);
    for (std::int64_t step = 1; step <= 4; ++step) {
      const Both gradient = random({n}, -0.01, 0.01);
      const AdamWOptions options{
          .learning_rate = 0.02, .weight_decay = 0.1, .step = step, .gradient_scale = 0.7};
      run([&](Backend& backend, Side s) { backend.adamw(value[s], m[s], v[s], gradient[s], options); });
    }
    // Every step moves a value by at most about the learning rate, and each is rounded.
    EXPECT_TRUE(near(value, 4 * 0.02 * 16 * unit_f32, 8 * unit_f32)) << n;
    EXPECT_TRUE(near(m, 16 * 0.01 * unit_f32, 0)) << n;
    EXPECT_TRUE(near(v, 0, 32 * unit_f32)) << n;
  }
}

TEST_P(OptimizerTest, TheFirstStepMovesByTheLearningRate) {
  const auto backend = std::get<0>(GetParam()).make();
  const DeviceTensor value(*backend, values(DType::f32, {2}, {1, 1})), m(*backend, DType::f32, {2});
  const DeviceTensor v(*backend, DType::f32, {2}), gradient(*backend, values(DType::f32, {2}, {5, -1e-3}));
  backend->adamw(value, m, v, gradient, {.learning_rate = 0.1});
  EXPECT_NEAR(value.download().at(0), 0.9, 1e-6);
  EXPECT_NEAR(value.download().at(1), 1.1, 1e-5);
}

}  // namespace
}  // namespace chorus
