#include "tests/ops/operator_test.h"

namespace chorus {
namespace {

class SwigluTest : public OperatorTest {};
INSTANTIATE_TEST_SUITE_P(Backends, SwigluTest, every_backend_and_type(), parameter_name);

TEST_P(SwigluTest, Forward) {
  for (const std::int64_t width : {1, 7, 64, 65, 5000}) {
    const Both gate = random({4, width}, -20, 20), up = random({4, width}, -2, 2), out = random({4, width});
    run([&](Backend& backend, Side s) { backend.swiglu(out[s], gate[s], up[s]); });
    EXPECT_TRUE(near(out, 0, 1.01 * unit() + 8 * unit_f32)) << width;
  }
}

TEST_P(SwigluTest, ExtremeGatesStayFinite) {
  const Both gate = both(values(dtype(), {1, 6}, {-200, -100, -88, 88, 100, 200})), up = random({1, 6}, 1, 1);
  const Both out = random({1, 6}), dgate = random({1, 6}), dup = random({1, 6});
  run([&](Backend& backend, Side s) {
    backend.swiglu(out[s], gate[s], up[s]);
    backend.swiglu_backward(dgate[s], dup[s], up[s], gate[s], up[s]);
  });
  EXPECT_TRUE(near(out, 1e-35, 1.01 * unit() + 8 * unit_f32));
  EXPECT_TRUE(near(dgate, 1e-35, 1.01 * unit() + 8 * unit_f32));
  EXPECT_TRUE(near(dup, 1e-35, 1.01 * unit() + 8 * unit_f32));
}

TEST_P(SwigluTest, BackwardMayWriteOverGateAndUp) {
  for (const std::int64_t width : {1, 7, 64, 65, 5000}) {
    const Both gate = random({4, width}, -8, 8), up = random({4, width}, -2, 2), dout = random({4, width});
    const Both dgate = random({4, width}), dup = random({4, width});
    run([&](Backend& backend, Side s) {
      backend.swiglu_backward(dgate[s], dup[s], dout[s], gate[s], up[s]);
      backend.swiglu_backward(gate[s], up[s], dout[s], gate[s], up[s]);
    });
    for (const Both* x : {&dgate, &dup, &gate, &up}) {
      EXPECT_TRUE(near(*x, 16 * unit_f32, 1.01 * unit() + 8 * unit_f32)) << width;
    }
  }
}

}  // namespace
}  // namespace chorus
