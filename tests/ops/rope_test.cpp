#include "tests/ops/operator_test.h"

namespace chorus {
namespace {

class RopeTest : public OperatorTest {
 protected:
  // cos of the angles of each position, then sin.
  Both table(std::int64_t positions, std::int64_t width) {
    HostTensor x(DType::f32, {positions, width});
    for (std::int64_t p = 0; p < positions; ++p) {
      for (std::int64_t j = 0; j < width / 2; ++j) {
        const double exponent = -2.0 * static_cast<double>(j) / static_cast<double>(width);
        const double angle = static_cast<double>(p) * std::pow(10000.0, exponent);
        x.set(p * width + j, std::cos(angle));
        x.set(p * width + width / 2 + j, std::sin(angle));
      }
    }
    return both(x);
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, RopeTest, every_backend_and_type(), parameter_name);

TEST_P(RopeTest, TurnsHalvesByTheAngleOfThePosition) {
  for (const std::int64_t width : {2, 6, 32, 64, 128}) {
    for (const Rotation rotation : {Rotation::forward, Rotation::backward}) {
      const Both x = random({5, 3, width}), positions = index<std::int32_t>({0, 19, 4, 4, 7});
      const Both cos_sin = table(20, width);
      run([&](Backend& backend, Side s) { backend.rope(x[s], positions[s], cos_sin[s], rotation); });
      EXPECT_TRUE(near(x, 4 * unit_f32, 1.01 * unit())) << width;
    }
  }
}

TEST_P(RopeTest, BackwardUndoesForward) {
  const Both x = random({40, 2, 16}), cos_sin = table(30, 16);
  std::vector<std::int32_t> list(40);
  for (std::size_t i = 0; i < list.size(); ++i) list[i] = static_cast<std::int32_t>(i * 7 % 30);
  const Both positions = index(list);
  const HostTensor before = x.tested.download();
  const auto turn = [&](Rotation rotation) {
    run([&](Backend& backend, Side s) { backend.rope(x[s], positions[s], cos_sin[s], rotation); });
  };
  turn(Rotation::forward);
  EXPECT_FALSE(is_near(x.tested.download(), before, 0.1));
  turn(Rotation::backward);
  // Both turns round both halves.
  EXPECT_TRUE(is_near(x.tested.download(), before, 4 * unit()));
}

}  // namespace
}  // namespace chorus
