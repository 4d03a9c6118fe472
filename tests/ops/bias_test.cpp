#include "tests/ops/operator_test.h"

namespace chorus {
namespace {

class BiasTest : public OperatorTest {};
INSTANTIATE_TEST_SUITE_P(Backends, BiasTest, every_backend_and_type(), parameter_name);

const std::vector<std::int64_t> widths{1, 7, 63, 64, 65, 288, 2049};

TEST_P(BiasTest, IsAddedToEveryRowAndRoundedOnce) {
  for (const std::int64_t tokens : {0, 1, 11}) {
    for (const std::int64_t width : widths) {
      const Both y = random({tokens, width}), bias = random({width}, -100, 100);
      run([&](Backend& backend, Side s) { backend.add_bias(y[s], bias[s]); });
      EXPECT_TRUE(near(y, 0, 1.01 * unit())) << tokens << " x " << width;
    }
  }
}

TEST_P(BiasTest, BackwardAddsOverTokens) {
  for (const std::int64_t tokens : {0, 1, 33, 200}) {
    for (const std::int64_t width : widths) {
      const Both dy = random({tokens, width}), dbias = random_accumulator({width});
      run([&](Backend& backend, Side s) { backend.bias_backward(dbias[s], dy[s]); });
      // Sums in f64, rounded to f32 once.
      EXPECT_TRUE(near(dbias, 1e-12, 1.01 * unit_f32)) << tokens << " x " << width;
    }
  }
}

}  // namespace
}  // namespace chorus
