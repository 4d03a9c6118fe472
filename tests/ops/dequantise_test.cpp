#include <cmath>

#include "tests/ops/operator_test.h"

namespace chorus {
namespace {

class DequantiseTest : public OperatorTest {
 protected:
  Both codes(const Shape& shape) { return as_it_is(random_codes(shape, ++codes_seed_)); }
  Both floats(const Shape& shape, double low = -1) {
    return as_it_is(random_tensor(DType::f32, shape, ++codes_seed_, low));
  }

  // Products of few and of many rows. A weight of at most `largest` may be rounded before them.
  template <typename MatrixOf>
  void compare_products(const Shape& shape, double largest, const MatrixOf& matrix_of) {
    for (const std::int64_t rows : {0, 1, 3, 4, 5, 40}) {
      const Both a = random({rows, shape[1]}), out = random({rows, shape[0]}), scratch = random(shape);
      run([&](Backend& backend, Side s) {
        backend.matmul_quantised(out[s], a[s], matrix_of(s), scratch[s]);
      });
      const double terms = std::sqrt(static_cast<double>(shape[1])), sums = 4 * unit_f32 * terms * terms;
      EXPECT_TRUE(near(out, largest * (1.5 * unit() * terms + sums), 1.01 * unit()))
          << rows << " rows, " << to_string(shape);
    }
  }

 private:
  std::uint64_t codes_seed_ = 100;
};
INSTANTIATE_TEST_SUITE_P(Backends, DequantiseTest, every_backend_and_type(), parameter_name);

TEST_P(DequantiseTest, BytesByRow) {
  for (const Shape& shape : {Shape{0, 8}, Shape{1, 8}, Shape{3, 24}, Shape{70, 1032}}) {
    const Both out = random(shape), of = codes(shape), scales = floats({shape[0]}, 0);
    const auto matrix = [&](Side s) {
      return QuantisedMatrix{.kind = Quantisation::int8,
                             .shape = shape,
                             .codes = of[s],
                             .scales = scales[s],
                             .scale_codes = {},
                             .levels = {}};
    };
    run([&](Backend& backend, Side s) { backend.dequantise(out[s], matrix(s)); });
    EXPECT_TRUE(near(out, 0, 1.01 * unit() + unit_f32)) << to_string(shape);
    compare_products(shape, 128, matrix);
  }
}

// Parts of matrices of several groups of blocks: whole rows, and columns of each row.
TEST_P(DequantiseTest, HalfBytesByBlock) {
  struct Part {
    Shape shape;
    std::int64_t first_block, row_stride;
  };
  for (const auto& [shape, first_block, row_stride] :
       {Part{{0, 64}, 0, 1}, Part{{1, 64}, 0, 1}, Part{{5, 128}, 254, 2}, Part{{70, 192}, 9, 12},
        Part{{9, 4096}, 7, 100}}) {
    const std::int64_t row_blocks = shape[1] / QuantisedMatrix::block;
    const std::int64_t blocks = first_block + shape[0] * row_stride + row_blocks;
    const Both out = random(shape), of = codes({shape[0], shape[1] / 2}),
               scale_codes = codes({shape[0], row_blocks}),
               levels = floats({QuantisedMatrix::normal_levels + QuantisedMatrix::dynamic_levels}),
               scales = floats({2 + blocks / QuantisedMatrix::blocks_per_group});
    const auto matrix = [&](Side s) {
      return QuantisedMatrix{.kind = Quantisation::nf4,
                             .shape = shape,
                             .codes = of[s],
                             .scales = scales[s],
                             .scale_codes = scale_codes[s],
                             .levels = levels[s],
                             .first_block = first_block,
                             .row_stride = row_stride};
    };
    run([&](Backend& backend, Side s) { backend.dequantise(out[s], matrix(s)); });
    // The mean and what is added to it may cancel.
    EXPECT_TRUE(near(out, 4 * unit_f32, 1.01 * unit() + 2 * unit_f32)) << to_string(shape);
    compare_products(shape, 2, matrix);
  }
}

}  // namespace
}  // namespace chorus
