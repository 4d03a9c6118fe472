#include "ops/tensor.h"

#include <array>
#include <cmath>
#include <limits>

#include <gmock/gmock.h>

#include "tests/support/message_of.h"

namespace chorus {
namespace {

using ::testing::HasSubstr;

TEST(ShapeTest, CountsAndPrints) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape.elements(), 24);
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[-1], 4);
  EXPECT_EQ(to_string(shape), "[2, 3, 4]");
  EXPECT_EQ(to_string(Shape{}), "[]");
  EXPECT_EQ((Shape{5, 0}).elements(), 0);
  EXPECT_FALSE((Shape{2, 3}) == (Shape{3, 2}));
  EXPECT_THAT(test::message_of<Error>([&] { (void)shape[3]; }), HasSubstr("dim 3 of shape [2, 3, 4]"));
  EXPECT_THAT(test::message_of<Error>([&] { (void)shape[-4]; }), HasSubstr("dim -4"));
  EXPECT_THAT(test::message_of<Error>([] { Shape{1, 1, 1, 1, 1}; }), HasSubstr("at most 4 dims, not 5"));
}

TEST(TensorTest, RowsAndReshapesAreViews) {
  std::array<float, 12> memory{};
  const Tensor x(DType::f32, {4, 3}, memory.data());
  EXPECT_EQ(x.bytes(), 48);
  const Tensor rows = x.rows(1, 3);
  EXPECT_EQ(rows.shape(), (Shape{2, 3}));
  rows.data<float>()[0] = 7;
  EXPECT_EQ(memory[3], 7);
  const Tensor flat = x.reshape({12});
  EXPECT_EQ(flat.data<float>()[3], 7);
  EXPECT_TRUE(x.rows(2, 2).empty());
  EXPECT_EQ(x.reshape({2, 2, 3}).rows(1, 2).address(), memory.data() + 6);
  EXPECT_THAT(test::message_of<Error>([&] { x.rows(3, 5); }), HasSubstr("rows 3 to 5 of [4, 3]"));
  EXPECT_THAT(test::message_of<Error>([&] { x.rows(3, 2); }), HasSubstr("rows 3 to 2"));
  EXPECT_THAT(test::message_of<Error>([&] { x.reshape({13}); }), HasSubstr("[4, 3] viewed as [13]"));
}

TEST(TensorTest, KnowsItsType) {
  std::array<float, 4> memory{};
  const Tensor x(DType::f32, {4}, memory.data());
  EXPECT_THAT(test::message_of<Error>([&] { x.data<double>(); }), HasSubstr("tensor of f32 written as f64"));
  EXPECT_THAT(test::message_of<Error>([&] { ConstTensor(x).data<bfloat16>(); }),
              HasSubstr("tensor of f32 read as bf16"));
}

TEST(DTypeTest, BytesAndNames) {
  EXPECT_EQ(bytes_per_element(DType::bf16), 2);
  EXPECT_EQ(bytes_per_element(DType::f64), 8);
  EXPECT_EQ(name(DType::i64), "i64");
  EXPECT_EQ(accumulator(DType::bf16), DType::f32);
  EXPECT_EQ(accumulator(DType::f32), DType::f32);
  EXPECT_EQ(accumulator(DType::f64), DType::f64);
}

TEST(Bfloat16Test, RoundsToNearestEven) {
  const auto round = [](float x) { return static_cast<float>(bfloat16(x)); };
  EXPECT_EQ(round(1.0F), 1.0F);
  EXPECT_EQ(round(1.0F + 0x1p-8F), 1.0F);                // a tie goes to the even neighbour
  EXPECT_EQ(round(1.0F + 3 * 0x1p-8F), 1.0F + 0x1p-6F);  // and here upwards
  EXPECT_EQ(round(1.0F + 0x1.01p-8F), 1.0F + 0x1p-7F);   // just above a tie
  EXPECT_EQ(round(-3.4e38F), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(round(0x1p-133F), 0x1p-133F);  // the smallest subnormal
  EXPECT_TRUE(std::isnan(round(std::nanf(""))));
  EXPECT_EQ(bfloat16(std::numeric_limits<float>::infinity()).bits, 0x7f80);
}

}  // namespace
}  // namespace chorus
