#pragma once

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "ops/checked_backend.h"
#include "tests/support/reference_backend.h"
#include "tests/support/tensors.h"

namespace chorus {

struct BackendUnderTest {
  std::string name;
  std::function<std::unique_ptr<Backend>()> make;
};

inline void PrintTo(const BackendUnderTest& backend, std::ostream* out) { *out << backend.name; }

// Whom the operator tests test: one of the files backends_*.cpp beside this one.
std::vector<BackendUnderTest> backends_under_test();

using OperatorParameters = std::tuple<BackendUnderTest, DType>;

inline auto every_backend_and_type() {
  return ::testing::Combine(::testing::ValuesIn(backends_under_test()),
                            ::testing::Values(DType::f32, DType::bf16));
}

inline std::string parameter_name(const ::testing::TestParamInfo<OperatorParameters>& info) {
  return std::get<0>(info.param).name + "_" + std::string(name(std::get<1>(info.param)));
}

// Runs an operator on the backend under test, through the checks, and on the reference with the very same
// values.
class OperatorTest : public ::testing::TestWithParam<OperatorParameters> {
 protected:
  enum class Side { tested, reference };

  // The same values on both sides.
  struct Both {
    DeviceTensor tested, reference;
    Tensor operator[](Side side) const { return side == Side::tested ? tested.view() : reference.view(); }
  };

  DType dtype() const { return std::get<1>(GetParam()); }
  double unit() const { return rounding(dtype()); }
  static constexpr double unit_f32 = 0x1p-24;

  // `x` on both sides: in its own type on the tested one, floats as f64 on the other.
  Both both(const HostTensor& x) {
    const bool is_integer = x.dtype() == DType::i32 || x.dtype() == DType::i64;
    return {DeviceTensor(tested_, x), DeviceTensor(reference_, is_integer ? x : converted(x, DType::f64))};
  }
  // `x` in its own type on both.
  Both as_it_is(const HostTensor& x) { return {DeviceTensor(tested_, x), DeviceTensor(reference_, x)}; }
  // Random values of the element type under test, or of its accumulator.
  Both random(const Shape& shape, double low = -1, double high = 1) {
    return both(random_tensor(dtype(), shape, ++seed_, low, high));
  }
  Both random_accumulator(const Shape& shape, double low = -1, double high = 1) {
    return both(random_tensor(DType::f32, shape, ++seed_, low, high));
  }
  template <typename Integer>
  Both index(const std::vector<Integer>& list) {
    return both(integers(sizeof(Integer) == 8 ? DType::i64 : DType::i32, list));
  }

  // call(backend, side) for both sides.
  template <typename Call>
  void run(const Call& call) {
    call(static_cast<Backend&>(checked_tested_), Side::tested);
    call(static_cast<Backend&>(checked_reference_), Side::reference);
  }

  static ::testing::AssertionResult near(const Both& x, double absolute, double relative) {
    return is_near(x.tested.download(), x.reference.download(), absolute, relative);
  }

 private:
  std::unique_ptr<Backend> owner_ = std::get<0>(GetParam()).make();
  Backend& tested_ = *owner_;
  ReferenceBackend reference_;
  CheckedBackend checked_tested_{tested_}, checked_reference_{reference_};
  std::uint64_t seed_ = 0;
};

}  // namespace chorus
