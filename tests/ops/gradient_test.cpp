#include <functional>

#include "tests/ops/forests.h"
#include "tests/support/reference_backend.h"
#include "tests/support/tensors.h"

// The reference is the oracle of every backend, so its own backward passes are held against central
// differences.

namespace chorus {
namespace {

class GradientTest : public ::testing::Test {
 protected:
  DeviceTensor random(const Shape& shape, double low = -1, double high = 1) {
    return {backend_, random_tensor(DType::f64, shape, ++seed_, low, high)};
  }
  DeviceTensor zeros(const Shape& shape) { return {backend_, DType::f64, shape}; }
  DeviceTensor index(const std::vector<std::int32_t>& list) { return {backend_, integers(DType::i32, list)}; }

  static double product(ConstTensor a, ConstTensor b) {
    double sum = 0;
    for (std::int64_t i = 0; i < a.elements(); ++i) sum += a.data<double>()[i] * b.data<double>()[i];
    return sum;
  }

  // Compares `gradient` with (loss(x + h) - loss(x - h)) / 2h in every element of x.
  static ::testing::AssertionResult is_gradient(const DeviceTensor& gradient, const DeviceTensor& x,
                                                const std::function<double()>& loss) {
    constexpr double h = 1e-5;
    HostTensor differences(DType::f64, x.view().shape());
    double* values = x.view().data<double>();
    for (std::int64_t i = 0; i < differences.elements(); ++i) {
      const double before = values[i];
      values[i] = before + h;
      const double above = loss();
      values[i] = before - h;
      const double below = loss();
      values[i] = before;
      differences.set(i, (above - below) / (2 * h));
    }
    // The formula's own error is h² times a third derivative, its rounding 1e-16 / h times the loss.
    return is_near(gradient.download(), differences, 1e-8, 1e-7);
  }

  ReferenceBackend backend_;

 private:
  std::uint64_t seed_ = 0;
};

TEST_F(GradientTest, Bias) {
  const auto y = random({4, 3}), bias = random({3}), dy = random({4, 3}), sum = zeros({4, 3}),
             dbias = zeros({3});
  const auto loss = [&] {
    backend_.convert(sum, y);
    backend_.add_bias(sum, bias);
    return product(sum.view(), dy.view());
  };
  backend_.bias_backward(dbias, dy);
  EXPECT_TRUE(is_gradient(dbias, bias, loss));
}

TEST_F(GradientTest, RmsNorm) {
  const auto x = random({3, 6}), weight = random({6}), dout = random({3, 6}), out = zeros({3, 6}),
             rstd = zeros({3});
  const auto loss = [&] {
    backend_.rms_norm(out, rstd, x, weight, 1e-2);
    return product(out.view(), dout.view());
  };
  loss();
  const auto dx = zeros({3, 6}), dweight = zeros({6});
  backend_.rms_norm_backward(dx, dout, x, weight, rstd);
  backend_.rms_norm_weight_backward(dweight, dout, x, rstd);
  EXPECT_TRUE(is_gradient(dx, x, loss));
  EXPECT_TRUE(is_gradient(dweight, weight, loss));
}

TEST_F(GradientTest, Rope) {
  const auto x = random({3, 2, 4}), dout = random({3, 2, 4}), dx = zeros({3, 2, 4}), out = zeros({3, 2, 4});
  const auto positions = index({0, 3, 1}), table = zeros({4, 4});
  for (std::int64_t p = 0; p < 4; ++p) {
    for (std::int64_t j = 0; j < 2; ++j) {
      const double angle = static_cast<double>(p) / static_cast<double>(j + 1);
      table.view().data<double>()[p * 4 + j] = std::cos(angle);
      table.view().data<double>()[p * 4 + 2 + j] = std::sin(angle);
    }
  }
  const auto loss = [&] {
    backend_.convert(out, x);
    backend_.rope(out, positions, table, Rotation::forward);
    return product(out.view(), dout.view());
  };
  backend_.convert(dx, dout);
  backend_.rope(dx, positions, table, Rotation::backward);
  EXPECT_TRUE(is_gradient(dx, x, loss));
}

TEST_F(GradientTest, Attention) {
  for (const Forest& forest :
       {single_sequence(6), forest_of({{5, -1, 0}, {3, 0, 2}, {2, 1, 1}, {2, -1, 0}})}) {
    const std::int64_t n = forest.tokens;
    const auto q = random({n, 4, 3}, -2, 2), k = random({n, 2, 3}), v = random({n, 2, 3}),
               dout = random({n, 4, 3});
    const auto out = zeros({n, 4, 3}), lse = zeros({n, 4});
    const auto dq = random({n, 4, 3}), dk = random({n, 2, 3}), dv = random({n, 2, 3});
    const auto loss = [&] {
      backend_.attention(out, lse, q, k, v, forest);
      return product(out.view(), dout.view());
    };
    loss();
    backend_.attention_backward(dq, dk, dv, dout, out, lse, q, k, v, forest);
    EXPECT_TRUE(is_gradient(dq, q, loss));
    EXPECT_TRUE(is_gradient(dk, k, loss));
    EXPECT_TRUE(is_gradient(dv, v, loss));
  }
}

TEST_F(GradientTest, Swiglu) {
  const auto gate = random({2, 9}, -4, 4), up = random({2, 9}), dout = random({2, 9}), out = zeros({2, 9});
  const auto dgate = random({2, 9}), dup = random({2, 9});
  const auto loss = [&] {
    backend_.swiglu(out, gate, up);
    return product(out.view(), dout.view());
  };
  backend_.swiglu_backward(dgate, dup, dout, gate, up);
  EXPECT_TRUE(is_gradient(dgate, gate, loss));
  EXPECT_TRUE(is_gradient(dup, up, loss));
}

TEST_F(GradientTest, Embed) {
  const auto table = random({4, 3}), dtable = zeros({4, 3}), dout = random({6, 3}), out = zeros({6, 3});
  const auto tokens = index({5, 2, 3, 3, 9, 5});
  const auto loss = [&] {
    backend_.embed(out, table, tokens, 2);
    return product(out.view(), dout.view());
  };
  backend_.embed_backward(dtable, dout, tokens, 2);
  EXPECT_TRUE(is_gradient(dtable, table, loss));
}

TEST_F(GradientTest, Dropout) {
  const auto x = random({2, 30}), dx = zeros({2, 30}), dout = random({2, 30}), out = zeros({2, 30});
  const DeviceTensor ids(backend_, integers(DType::i64, std::vector<std::int64_t>{7, 8}));
  const DropoutMask mask{.probability = 0.4F, .seed = 5, .step = 1, .stream = 2, .first_feature = 3};
  const auto loss = [&] {
    backend_.dropout(out, x, ids, mask);
    return product(out.view(), dout.view());
  };
  backend_.dropout(dx, dout, ids, mask);
  EXPECT_TRUE(is_gradient(dx, x, loss));
}

TEST_F(GradientTest, Relu) {
  const auto x = random({4, 9}), dx = zeros({4, 9}), dout = random({4, 9}), out = zeros({4, 9});
  const auto loss = [&] {
    backend_.relu(out, x);
    return product(out.view(), dout.view());
  };
  backend_.relu_backward(dx, dout, x);
  EXPECT_TRUE(is_gradient(dx, x, loss));
}

// Two ranks hold half of the vocabulary each; the gradient of each half is of the whole loss.
TEST_F(GradientTest, CrossEntropyOverAShardedVocabulary) {
  const auto left = random({3, 4}, -2, 2), right = random({3, 5}, -2, 2);
  const auto rows = index({0, 0, 2, 2}), tokens = index({1, 8, 3, 3}), weights = random({4}, 0, 1);
  const auto parts = zeros({2, 3}), lse = zeros({3}), left_part = zeros({4}), right_part = zeros({4});
  const auto loss = [&] {
    backend_.log_sum_exp(parts.view().rows(0, 1).reshape({3}), left);
    backend_.log_sum_exp(parts.view().rows(1, 2).reshape({3}), right);
    backend_.combine_log_sum_exp(lse, parts);
    backend_.target_log_probability(left_part, left, lse, rows, tokens, 0);
    backend_.target_log_probability(right_part, right, lse, rows, tokens, 4);
    double sum = 0;
    for (std::int64_t t = 0; t < 4; ++t) {
      sum += weights.download().at(t) * (left_part.download().at(t) + right_part.download().at(t));
    }
    return -0.3 * sum;
  };
  loss();
  const auto dleft = random({3, 4}), dright = random({3, 5});
  backend_.cross_entropy_backward(dleft, left, lse, rows, tokens, weights, 0, 0.3);
  backend_.cross_entropy_backward(dright, right, lse, rows, tokens, weights, 4, 0.3);
  EXPECT_TRUE(is_gradient(dleft, left, loss));
  EXPECT_TRUE(is_gradient(dright, right, loss));
}

TEST_F(GradientTest, MatmulByItsTransposes) {
  const auto x = random({3, 5}), w = random({4, 5}), dy = random({3, 4}), y = zeros({3, 4});
  const auto dx = zeros({3, 5}), dw = zeros({4, 5});
  const auto loss = [&] {
    backend_.matmul(y, x, w, {.transpose_b = true, .scale = 1.5F});
    return product(y.view(), dy.view());
  };
  backend_.matmul(dx, dy, w, {.accumulate = true, .scale = 1.5F});
  backend_.matmul(dw, dy, x, {.transpose_a = true, .accumulate = true, .scale = 1.5F});
  EXPECT_TRUE(is_gradient(dx, x, loss));
  EXPECT_TRUE(is_gradient(dw, w, loss));
}

}  // namespace
}  // namespace chorus
