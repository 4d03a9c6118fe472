#include "tests/ops/operator_test.h"

namespace chorus {
namespace {

class ElementwiseTest : public OperatorTest {};
INSTANTIATE_TEST_SUITE_P(Backends, ElementwiseTest, every_backend_and_type(), parameter_name);

// Around vectors, chunks of work and nothing.
const std::vector<std::int64_t> sizes{0, 1, 7, 16, 17, 255, 16384, 16385, 40000};

TEST_P(ElementwiseTest, AddRoundsTheSumOnce) {
  for (const std::int64_t n : sizes) {
    const Both a = random({n}), b = random({n}), out = random({n});
    run([&](Backend& backend, Side s) { backend.add(out[s], a[s], b[s]); });
    EXPECT_TRUE(near(out, 0, 1.01 * unit())) << n;
  }
}

TEST_P(ElementwiseTest, AddMayWriteOverEitherInput) {
  const Both a = random({3, 50}), b = random({3, 50}), c = random({3, 50});
  run([&](Backend& backend, Side s) {
    backend.add(a[s], a[s], b[s]);
    backend.add(c[s], b[s], c[s]);
  });
  EXPECT_TRUE(near(a, 0, 1.01 * unit()));
  EXPECT_TRUE(near(c, 0, 1.01 * unit()));
}

TEST_P(ElementwiseTest, ReluAndItsBackward) {
  for (const std::int64_t n : sizes) {
    const Both x = random({n}), out = random({n}), dout = random({n}), dx = random({n});
    run([&](Backend& backend, Side s) {
      backend.relu(out[s], x[s]);
      backend.relu_backward(dx[s], dout[s], x[s]);
    });
    EXPECT_TRUE(near(out, 0, 0)) << n;
    EXPECT_TRUE(near(dx, 0, 0)) << n;
    run([&](Backend& backend, Side s) {  // in place, and with the output in place of the input
      backend.relu(x[s], x[s]);
      backend.relu_backward(dout[s], dout[s], x[s]);
    });
    EXPECT_TRUE(is_same(x.tested.download(), out.tested.download())) << n;
    EXPECT_TRUE(is_same(dout.tested.download(), dx.tested.download())) << n;
  }
}

TEST_P(ElementwiseTest, ReluHasNoSlopeAtZeroAndHidesNoNan) {
  const auto backend = std::get<0>(GetParam()).make();
  const double nan = std::nan("");
  const DeviceTensor x(*backend, values(dtype(), {5}, {0, -0.0, nan, -1, 2})),
      dout(*backend, values(dtype(), {5}, {1, 1, 1, nan, nan})), out(*backend, dtype(), {5}),
      dx(*backend, dtype(), {5});
  backend->relu(out, x);
  backend->relu_backward(dx, dout, x);
  const HostTensor y = out.download(), gradient = dx.download();
  EXPECT_EQ(y.at(0), 0);
  EXPECT_EQ(y.at(1), 0);
  EXPECT_TRUE(std::isnan(y.at(2)));
  EXPECT_EQ(y.at(3), 0);
  EXPECT_EQ(y.at(4), 2);
  EXPECT_EQ(gradient.at(0), 0);
  EXPECT_EQ(gradient.at(1), 0);
  EXPECT_EQ(gradient.at(2), 1);
  EXPECT_EQ(gradient.at(3), 0);
  EXPECT_TRUE(std::isnan(gradient.at(4)));
}

TEST_P(ElementwiseTest, ConvertRoundsToNearest) {
  for (const std::int64_t n : sizes) {
    for (const DType from : {DType::f32, DType::bf16}) {
      const HostTensor x = random_tensor(from, {n}, 3, -100, 100);
      const auto backend = std::get<0>(GetParam()).make();
      const DeviceTensor in(*backend, x), out(*backend, dtype(), {n});
      backend->convert(out, in);
      EXPECT_TRUE(is_same(out.download(), converted(x, dtype()))) << n;
    }
  }
}

TEST_P(ElementwiseTest, ConvertKeepsSpecialValues) {
  const double infinity = std::numeric_limits<double>::infinity();
  const auto backend = std::get<0>(GetParam()).make();
  const DeviceTensor in(*backend, values(DType::f32, {4}, {infinity, -infinity, -0.0, std::nan("")}));
  const DeviceTensor out(*backend, dtype(), {4});
  backend->convert(out, in);
  const HostTensor result = out.download();
  EXPECT_EQ(result.at(0), infinity);
  EXPECT_EQ(result.at(1), -infinity);
  EXPECT_TRUE(std::signbit(result.at(2)));
  EXPECT_TRUE(std::isnan(result.at(3)));
}

TEST_P(ElementwiseTest, ConvertCopiesIntegers) {
  const auto backend = std::get<0>(GetParam()).make();
  const HostTensor x = integers(DType::i64, std::vector<std::int64_t>{1, -5, 1LL << 50});
  const DeviceTensor in(*backend, x), out(*backend, DType::i64, {3});
  backend->convert(out, in);
  EXPECT_TRUE(is_same(out.download(), x));
}

TEST_P(ElementwiseTest, FillSetsEveryElement) {
  for (const std::int64_t n : sizes) {
    for (const DType type : {dtype(), DType::i32, DType::i64}) {
      const auto backend = std::get<0>(GetParam()).make();
      const DeviceTensor out(*backend, type, {n});
      backend->fill(out, -3);
      HostTensor expected(type, {n});
      for (std::int64_t i = 0; i < n; ++i) expected.set(i, -3);
      EXPECT_TRUE(is_same(out.download(), expected)) << n;
    }
  }
}

TEST_P(ElementwiseTest, MoreElementsThanThreadsOfAGrid) {
  const Both out = random({1'060'000});
  run([&](Backend& backend, Side s) { backend.fill(out[s].rows(1, out[s].dim(0)), 5); });
  EXPECT_TRUE(near(out, 0, 0));
}

TEST_P(ElementwiseTest, DropoutDropsTheSameElementsEverywhere) {
  for (const std::int64_t width : {1, 4, 7, 255, 256, 257, 600}) {
    const Both x = random({5, width}), out = random({5, width});
    const Both ids = index<std::int64_t>({0, 3, 1LL << 31, 77, 3});
    const DropoutMask mask{
        .probability = 0.3F, .seed = 1234567890123, .step = 9, .stream = 5, .first_feature = 0};
    run([&](Backend& backend, Side s) { backend.dropout(out[s], x[s], ids[s], mask); });
    // Kept values carry two roundings, dropped ones are exactly 0 on both sides.
    EXPECT_TRUE(near(out, 0, 1.01 * unit() + 4 * unit_f32)) << width;
  }
}

TEST_P(ElementwiseTest, DropoutOfSlicesIsASliceOfDropout) {
  const auto backend = std::get<0>(GetParam()).make();
  const std::int64_t width = 530;
  const DeviceTensor ids(*backend, integers(DType::i64, std::vector<std::int64_t>{4, 9}));
  const HostTensor x = random_tensor(dtype(), {2, width}, 8);
  DropoutMask mask{.probability = 0.5F, .seed = 3, .step = 2, .stream = 1, .first_feature = 0};
  const DeviceTensor whole(*backend, x), whole_out(*backend, dtype(), {2, width});
  backend->dropout(whole_out, whole, ids, mask);
  const HostTensor expected = whole_out.download();
  for (const std::int64_t begin : {0, 1, 3, 4, 8, 263, 529}) {
    const std::int64_t count = std::min<std::int64_t>(width - begin, 258);
    HostTensor slice(dtype(), {2, count}), expected_slice(dtype(), {2, count});
    for (std::int64_t n = 0; n < 2; ++n) {
      for (std::int64_t i = 0; i < count; ++i) {
        slice.set(n * count + i, x.at(n * width + begin + i));
        expected_slice.set(n * count + i, expected.at(n * width + begin + i));
      }
    }
    mask.first_feature = begin;
    const DeviceTensor part(*backend, slice);
    backend->dropout(part, part, ids, mask);
    EXPECT_TRUE(is_same(part.download(), expected_slice)) << begin;
  }
}

TEST_P(ElementwiseTest, DropoutKeepsTheExpectedShareAndAll) {
  const auto backend = std::get<0>(GetParam()).make();
  const std::int64_t width = 40000;
  HostTensor ones(dtype(), {1, width});
  for (std::int64_t i = 0; i < width; ++i) ones.set(i, 1);
  const DeviceTensor x(*backend, ones), out(*backend, dtype(), {1, width});
  const DeviceTensor ids(*backend, integers(DType::i64, std::vector<std::int64_t>{1}));
  backend->dropout(out, x, ids, {.probability = 0.25F, .seed = 1});
  double kept = 0;
  const HostTensor dropped = out.download();
  for (std::int64_t i = 0; i < width; ++i) kept += dropped.at(i) != 0;
  // Five standard deviations of a binomial distribution.
  EXPECT_NEAR(kept / width, 0.75, 5 * std::sqrt(0.75 * 0.25 / width));
  for (const float none : {0.0F, 1e-6F}) {  // the second is less than half of what 16 bits can tell
    backend->dropout(out, x, ids, {.probability = none});
    EXPECT_TRUE(is_same(out.download(), ones)) << none;
  }
}

}  // namespace
}  // namespace chorus
