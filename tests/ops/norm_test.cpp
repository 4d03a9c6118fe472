#include "tests/ops/operator_test.h"

namespace chorus {
namespace {

class NormTest : public OperatorTest {};
INSTANTIATE_TEST_SUITE_P(Backends, NormTest, every_backend_and_type(), parameter_name);

const std::vector<std::int64_t> widths{1, 7, 63, 64, 65, 288, 2049};

TEST_P(NormTest, Forward) {
  for (const std::int64_t width : widths) {
    const Both x = random({11, width}, -3, 3), weight = random({width}, 0.5, 1.5);
    const Both out = random({11, width}), rstd = random_accumulator({11});
    run([&](Backend& backend, Side s) { backend.rms_norm(out[s], rstd[s], x[s], weight[s], 1e-5); });
    const double sums = unit_f32 * (4 + std::sqrt(static_cast<double>(width)));
    EXPECT_TRUE(near(rstd, 0, sums)) << width;
    EXPECT_TRUE(near(out, 0, 1.01 * unit() + sums)) << width;
  }
}

TEST_P(NormTest, ZeroRowsStayFinite) {
  const Both x = random({2, 40}, 0, 0), weight = random({40}), out = random({2, 40}),
             rstd = random_accumulator({2});
  run([&](Backend& backend, Side s) { backend.rms_norm(out[s], rstd[s], x[s], weight[s], 1e-6); });
  EXPECT_TRUE(near(out, 0, 0));
  EXPECT_TRUE(near(rstd, 0, 4 * unit_f32));
}

TEST_P(NormTest, BackwardAddsToTheGradient) {
  for (const std::int64_t width : widths) {
    const Both x = random({6, width}), weight = random({width}), dout = random({6, width}),
               dx = random({6, width});
    const Both rstd = random_accumulator({6}, 0.5, 2);
    run([&](Backend& backend, Side s) {
      backend.rms_norm_backward(dx[s], dout[s], x[s], weight[s], rstd[s]);
    });
    const double sums = 16 * unit_f32 * (1 + 8 / std::sqrt(static_cast<double>(width)));
    EXPECT_TRUE(near(dx, sums, 1.01 * unit())) << width;
  }
}

TEST_P(NormTest, WeightBackwardAddsOverTokens) {
  for (const std::int64_t tokens : {0, 1, 33, 200}) {
    for (const std::int64_t width : widths) {
      const Both x = random({tokens, width}), dout = random({tokens, width}),
                 dweight = random_accumulator({width});
      const Both rstd = random_accumulator({tokens}, 0.5, 2);
      run([&](Backend& backend, Side s) {
        backend.rms_norm_weight_backward(dweight[s], dout[s], x[s], rstd[s]);
      });
      EXPECT_TRUE(near(dweight, 4 * unit_f32 * std::sqrt(static_cast<double>(tokens) + 1), unit_f32))
          << tokens << " x " << width;
    }
  }
}

}  // namespace
}  // namespace chorus
