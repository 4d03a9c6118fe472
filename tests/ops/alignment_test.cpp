#include "tests/ops/operator_test.h"

// Tensors may begin at any element: backends that move several elements at once must notice.

namespace chorus {
namespace {

class AlignmentTest : public OperatorTest {
 protected:
  // Memory of which view(side) is all but the first element.
  struct Shifted {
    Both memory;
    Shape shape;
    Tensor operator[](Side side) const { return memory[side].rows(1, 1 + shape.elements()).reshape(shape); }
  };

  Shifted shifted(const Shape& shape) { return {random({1 + shape.elements()}), shape}; }
  Shifted shifted_accumulator(const Shape& shape) {
    return {random_accumulator({1 + shape.elements()}), shape};
  }
  // The element before it must stay.
  static ::testing::AssertionResult close(const Shifted& x, double absolute, double relative) {
    return near(x.memory, absolute, relative);
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, AlignmentTest, every_backend_and_type(), parameter_name);

// One whose rows could be moved 16 bytes at a time, and one whose rows could not.
const std::vector<Shape> shapes{{5, 64}, {5, 37}};

TEST_P(AlignmentTest, Elementwise) {
  for (const Shape& shape : shapes) {
    const Shifted a = shifted(shape), b = shifted(shape), out = shifted(shape), filled = shifted(shape),
                  wide = shifted_accumulator(shape), dropped = shifted(shape),
                  exact = shifted_accumulator(shape), narrow = shifted(shape), positive = shifted(shape),
                  sloped = shifted(shape);
    const Both ids = index<std::int64_t>({3, 1, 4, 1, 5});
    run([&](Backend& backend, Side s) {
      backend.add(out[s], a[s], b[s]);
      backend.relu(positive[s], a[s]);
      backend.relu_backward(sloped[s], b[s], a[s]);
      backend.fill(filled[s], -2.5);
      backend.convert(wide[s], a[s]);
      backend.convert(narrow[s], exact[s]);
      backend.dropout(dropped[s], a[s], ids[s], {.probability = 0.4F, .seed = 7});
    });
    EXPECT_TRUE(close(out, 0, 1.01 * unit()));
    EXPECT_TRUE(close(positive, 0, 0));
    EXPECT_TRUE(close(sloped, 0, 0));
    EXPECT_TRUE(close(filled, 0, 0));
    EXPECT_TRUE(close(wide, 0, 0));
    EXPECT_TRUE(close(narrow, 0, 1.01 * unit()));
    EXPECT_TRUE(close(dropped, 0, 1.01 * unit() + 4 * unit_f32));
  }
}

TEST_P(AlignmentTest, IntegersAreFilled) {
  const Both narrow = index<std::int32_t>({1, 2, 3, 4, 5, 6}), wide = index<std::int64_t>({1, 2, 3, 4});
  run([&](Backend& backend, Side s) {
    backend.fill(narrow[s].rows(1, 6), 9);
    backend.fill(wide[s].rows(1, 4), -9);
  });
  EXPECT_TRUE(near(narrow, 0, 0));
  EXPECT_TRUE(near(wide, 0, 0));
}

TEST_P(AlignmentTest, Matmul) {
  for (const std::int64_t rank : {4, 16, 5}) {
    const Shifted a = shifted({33, rank}), b = shifted({24, rank}), out = shifted({33, 24}),
                  wide = shifted_accumulator({33, 24});
    run([&](Backend& backend, Side s) {
      backend.matmul(out[s], a[s], b[s], {.transpose_b = true, .accumulate = true, .scale = 2});
      backend.matmul(wide[s], a[s], b[s], {.transpose_b = true});
    });
    EXPECT_TRUE(close(out, 64 * unit_f32, 1.01 * unit())) << rank;
    EXPECT_TRUE(close(wide, 64 * unit_f32, unit_f32)) << rank;
  }
}

TEST_P(AlignmentTest, Bias) {
  for (const Shape& shape : shapes) {
    const Shifted y = shifted(shape), bias = shifted({shape[1]}), dy = shifted(shape),
                  dbias = shifted_accumulator({shape[1]});
    run([&](Backend& backend, Side s) {
      backend.add_bias(y[s], bias[s]);
      backend.bias_backward(dbias[s], dy[s]);
    });
    EXPECT_TRUE(close(y, 0, 1.01 * unit()));
    EXPECT_TRUE(close(dbias, 1e-12, 1.01 * unit_f32));
  }
}

TEST_P(AlignmentTest, Rows) {
  for (const Shape& shape : shapes) {
    const Shifted x = shifted(shape), gathered = shifted({3, shape[1]}), scattered = shifted({9, shape[1]}),
                  dtable = shifted_accumulator({4, shape[1]});
    const Both rows = index<std::int32_t>({4, 0, 2}), places = index<std::int32_t>({8, 3, 0, 1, 4}),
               tokens = index<std::int32_t>({3, 1, 3, 3, 0});
    run([&](Backend& backend, Side s) {
      backend.gather_rows(gathered[s], x[s], rows[s]);
      backend.scatter_rows(scattered[s], x[s], places[s]);
      backend.embed_backward(dtable[s], x[s], tokens[s], 0);
    });
    EXPECT_TRUE(close(gathered, 0, 0));
    EXPECT_TRUE(close(scattered, 0, 0));
    EXPECT_TRUE(close(dtable, 8 * unit_f32, 0));
  }
}

TEST_P(AlignmentTest, Norm) {
  for (const Shape& shape : shapes) {
    const Shifted x = shifted(shape), weight = shifted({shape[1]}), out = shifted(shape),
                  dout = shifted(shape), dx = shifted(shape), rstd = shifted_accumulator({shape[0]}),
                  dweight = shifted_accumulator({shape[1]});
    run([&](Backend& backend, Side s) {
      backend.rms_norm(out[s], rstd[s], x[s], weight[s], 1e-5);
      backend.rms_norm_backward(dx[s], dout[s], x[s], weight[s], rstd[s]);
      backend.rms_norm_weight_backward(dweight[s], dout[s], x[s], rstd[s]);
    });
    EXPECT_TRUE(close(out, 0, 1.01 * unit() + 16 * unit_f32));
    EXPECT_TRUE(close(dx, 64 * unit_f32, 1.01 * unit()));
    EXPECT_TRUE(close(dweight, 64 * unit_f32, 16 * unit_f32));
  }
}

TEST_P(AlignmentTest, RopeAndSwiglu) {
  const Shifted x = shifted({4, 3, 32}), cos_sin = shifted_accumulator({9, 32});
  const Both positions = index<std::int32_t>({8, 0, 3, 3});
  run([&](Backend& backend, Side s) { backend.rope(x[s], positions[s], cos_sin[s], Rotation::forward); });
  EXPECT_TRUE(close(x, 4 * unit_f32, 1.01 * unit()));
  for (const Shape& shape : shapes) {
    const Shifted gate = shifted(shape), up = shifted(shape), out = shifted(shape), dout = shifted(shape);
    run([&](Backend& backend, Side s) {
      backend.swiglu(out[s], gate[s], up[s]);
      backend.swiglu_backward(gate[s], up[s], dout[s], gate[s], up[s]);
    });
    for (const Shifted* each : {&out, &gate, &up})
      EXPECT_TRUE(close(*each, 16 * unit_f32, 1.01 * unit() + 8 * unit_f32));
  }
}

TEST_P(AlignmentTest, LossAndOptimizer) {
  for (const Shape& shape : shapes) {
    const Shifted logits = shifted_accumulator(shape), lse = shifted_accumulator({shape[0]}),
                  dlogits = shifted(shape), square = shifted_accumulator({1}),
                  value = shifted_accumulator({shape[1]}), m = shifted_accumulator({shape[1]}),
                  v = {both(random_tensor(DType::f32, {1 + shape[1]}, 99, 0.5, 1)), {shape[1]}};
    const Both rows = index<std::int32_t>({0, 2, 2}), tokens = index<std::int32_t>({5, 36, 7}),
               weights = random_accumulator({3}, 0, 1);
    run([&](Backend& backend, Side s) {
      backend.log_sum_exp(lse[s], logits[s]);
      backend.cross_entropy_backward(dlogits[s], logits[s], lse[s], rows[s], tokens[s], weights[s], 0, 0.5);
      backend.sum_of_squares(square[s], logits[s].reshape({shape.elements()}));
      backend.adamw(value[s], m[s], v[s], logits[s].rows(0, 1).reshape({shape[1]}), {.learning_rate = 0.1});
    });
    EXPECT_TRUE(close(lse, 8 * unit_f32, 2 * unit_f32));
    EXPECT_TRUE(close(dlogits, 8 * unit_f32, 1.01 * unit() + 32 * unit_f32));
    EXPECT_TRUE(close(square, 0, 2 * unit_f32));
    for (const Shifted* each : {&value, &m, &v}) EXPECT_TRUE(close(*each, 32 * unit_f32, 8 * unit_f32));
  }
}

}  // namespace
}  // namespace chorus
