#include "core/formats/quantise.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>

#include "ops/cpu/cpu_backend.h"
#include "ops/transfer.h"
#include "tests/support/message_of.h"

namespace chorus {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The x below which a standard normal number falls with probability p, in 0.5 … 1.
double normal_quantile(double p) {
  double low = 0, high = 10;
  for (int i = 0; i < 100; ++i) {
    const double x = (low + high) / 2;
    (std::erfc(-x / std::sqrt(2.0)) / 2 < p ? low : high) = x;
  }
  return low;
}

// Quantiles at equal distances from the outermost to the middle, 8 above zero and 7 below it, scaled to 1.
TEST(Quantise, NormalLevelsAreQuantilesOfTheNormalDistribution) {
  const double outermost = 0.9677083, most = normal_quantile(outermost);
  std::vector<double> expected;
  for (int i = 0; i < 7; ++i)
    expected.push_back(-normal_quantile(outermost + (0.5 - outermost) * i / 7) / most);
  expected.push_back(0);
  for (int i = 7; i >= 0; --i)
    expected.push_back(normal_quantile(outermost + (0.5 - outermost) * i / 8) / most);
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(normal_levels()[i], expected[i], 2e-7) << i;
}

std::uint64_t fnv(const std::vector<std::uint8_t>& bytes) {
  std::uint64_t hash = 14695981039346656037U;
  for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 1099511628211U;
  return hash;
}

template <typename T>
std::vector<T> download(Backend& backend, ConstTensor tensor) {
  std::vector<T> values(static_cast<std::size_t>(tensor.elements()));
  backend.download(values.data(), tensor);
  return values;
}

class QuantiseTest : public ::testing::Test {
 protected:
  static constexpr std::int64_t rows = 96, columns = 448;

  static float element(std::int64_t i) {
    const auto word = static_cast<std::uint32_t>(static_cast<std::uint64_t>(i) * 2654435761U);
    const auto x = static_cast<float>((word / 4294967296.0 - 0.5) * static_cast<double>(1 + i / 64 % 7));
    return static_cast<float>(std::pow(static_cast<double>(x), 3));
  }
  static std::vector<float> elements(std::int64_t begin, std::int64_t end) {
    std::vector<float> values;
    for (std::int64_t i = begin * columns; i < end * columns; ++i) values.push_back(element(i));
    return values;
  }
  static MatrixPart part(int dim, const Shard& range) { return {"w", {rows, columns}, dim, range}; }

  QuantisedMatrix quantised(Quantisation kind, const MatrixPart& of) {
    const Tensor levels = upload_levels(backend_, arena_);
    const QuantisedMatrix matrix = take_quantised(arena_, kind, of, levels);
    quantise(backend_, matrix, of, elements);
    return matrix;
  }
  std::vector<float> dequantised(const QuantisedMatrix& matrix) {
    const Tensor out = arena_.take(DType::f32, matrix.shape);
    backend_.dequantise(out, matrix);
    return download_floats(backend_, out);
  }

  CpuBackend backend_{1};
  Arena arena_{backend_, 1 << 22, "test"};
};

// What bitsandbytes 0.50.2 makes of the same matrix: quantize_4bit(w, blocksize=64, compress_statistics=True,
// quant_type="nf4").
TEST_F(QuantiseTest, Nf4IsThatOfBitsandbytes) {
  const QuantisedMatrix matrix = quantised(Quantisation::nf4, part(0, {0, rows}));
  const std::vector<std::uint8_t> codes = download<std::uint8_t>(backend_, matrix.codes);
  EXPECT_THAT(std::vector(codes.begin(), codes.begin() + 16),
              ElementsAre(7, 91, 114, 135, 231, 74, 113, 118, 199, 56, 127, 117, 183, 24, 109, 116));
  EXPECT_EQ(fnv(codes), 0x6a43556a38ebc9b1U);
  EXPECT_EQ(fnv(download<std::uint8_t>(backend_, matrix.scale_codes)), 0xdcd70c555fadb84fU);
  const std::vector<float> scales = download<float>(backend_, matrix.scales);
  EXPECT_FLOAT_EQ(scales[0], 13.643532752990723F);
  EXPECT_FLOAT_EQ(scales[1], 29.165218353271484F);
  EXPECT_FLOAT_EQ(scales[2], 29.221595764160156F);
  EXPECT_FLOAT_EQ(scales[3], 29.165908813476562F);
  const std::vector<float> w = dequantised(matrix);
  // The mean and what is added to it nearly cancel: what is left is known to 13 · 2^-23.
  EXPECT_NEAR(w[0], -0.26854705810546875, 2e-6);
  EXPECT_NEAR(w[3], 0.09074614197015762, 2e-6);
  EXPECT_NEAR(w[w.size() - 2], -11.418472290039062, 2e-6);
  EXPECT_NEAR(w.back(), 6.460300922393799, 2e-6);
}

TEST_F(QuantiseTest, Int8IsWithinHalfAStepOfItsRow) {
  const std::vector<float> w = dequantised(quantised(Quantisation::int8, part(0, {0, rows}))),
                           exact = elements(0, rows);
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto of_row = std::span(exact).subspan(static_cast<std::size_t>(row * columns), columns);
    float absmax = 0;
    for (const float value : of_row) absmax = std::max(absmax, std::abs(value));
    for (std::size_t i = 0; i < of_row.size(); ++i)
      ASSERT_NEAR(w[static_cast<std::size_t>(row * columns) + i], of_row[i], absmax / 254 * 1.0001F)
          << row << ", " << i;
  }
}

// A rank has the same bits of its part as one that has the whole.
TEST_F(QuantiseTest, PartsAreThoseOfTheWhole) {
  for (const Quantisation kind : {Quantisation::int8, Quantisation::nf4}) {
    const std::vector<float> whole = dequantised(quantised(kind, part(0, {0, rows})));
    for (const auto& [dim, range] :
         {std::pair{0, Shard{0, 48}}, {0, Shard{7, 96}}, {1, Shard{0, 64}}, {1, Shard{128, 448}}}) {
      const std::vector<float> own = dequantised(quantised(kind, part(dim, range)));
      const std::int64_t width = dim == 0 ? columns : range.length();
      for (std::size_t i = 0; i < own.size(); ++i) {
        const std::int64_t row = static_cast<std::int64_t>(i) / width + (dim == 0 ? range.begin : 0);
        const std::int64_t column = static_cast<std::int64_t>(i) % width + (dim == 1 ? range.begin : 0);
        ASSERT_EQ(own[i], whole[static_cast<std::size_t>(row * columns + column)])
            << name(kind) << " " << row << ", " << column;
      }
    }
  }
}

TEST_F(QuantiseTest, ZerosStayZeros) {
  const MatrixPart of{"w", {3, 64}, 0, {0, 3}};
  const Tensor levels = upload_levels(backend_, arena_);
  for (const Quantisation kind : {Quantisation::int8, Quantisation::nf4}) {
    const QuantisedMatrix matrix = take_quantised(arena_, kind, of, levels);
    quantise(backend_, matrix, of, [](std::int64_t begin, std::int64_t end) {
      return std::vector<float>(static_cast<std::size_t>(64 * (end - begin)));
    });
    EXPECT_THAT(dequantised(matrix), ::testing::Each(0.0F)) << name(kind);
  }
}

TEST_F(QuantiseTest, RefusesWhatHasNoWholeBlocks) {
  EXPECT_THAT(
      test::message_of<ConfigurationError>([&] {
        quantised(Quantisation::nf4, part(1, {0, 224}));
      }),
      HasSubstr(
          "--base-precision nf4 needs columns in multiples of 64, and w has 224 on a tensor rank: lower "
          "--tensor-parallel"));
  EXPECT_THAT(test::message_of<ConfigurationError>([&] {
                quantised(Quantisation::int8, part(1, {0, 28}));
              }),
              HasSubstr("multiples of 8, and w has 28"));
}

TEST_F(QuantiseTest, RefusesWhatIsNotFinite) {
  const MatrixPart of{"w", {3, 64}, 0, {0, 3}};
  const Tensor levels = upload_levels(backend_, arena_);
  for (const Quantisation kind : {Quantisation::int8, Quantisation::nf4}) {
    for (const float wrong :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      const QuantisedMatrix matrix = take_quantised(arena_, kind, of, levels);
      const auto rows_of = [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> values(static_cast<std::size_t>(64 * (end - begin)));
        values[70] = wrong;
        return values;
      };
      EXPECT_THAT(test::message_of<DataError>([&] { quantise(backend_, matrix, of, rows_of); }),
                  HasSubstr("w holds a value that is not finite"));
    }
  }
}

}  // namespace
}  // namespace chorus
