#include "tests/ops/operator_test.h"

namespace chorus {
namespace {

class DequantiseTest : public OperatorTest {
 protected:
  Both codes(const Shape& shape) { return as_it_is(random_codes(shape, ++codes_seed_)); }
  Both floats(const Shape& shape, double low = -1) {
    return as_it_is(random_tensor(DType::f32, shape, ++codes_seed_, low));
  }

 private:
  std::uint64_t codes_seed_ = 100;
};
INSTANTIATE_TEST_SUITE_P(Backends, DequantiseTest, every_backend_and_type(), parameter_name);

TEST_P(DequantiseTest, BytesByRow) {
  for (const Shape& shape : {Shape{0, 8}, Shape{1, 8}, Shape{3, 24}, Shape{70, 1032}}) {
    const Both out = random(shape), of = codes(shape), scales = floats({shape[0]}, 0);
    run([&](Backend& backend, Side s) {
      backend.dequantise(out[s], {.kind = Quantisation::int8,
                                  .shape = shape,
                                  .codes = of[s],
                                  .scales = scales[s],
                                  .scale_codes = {},
                                  .levels = {}});
    });
    EXPECT_TRUE(near(out, 0, 1.01 * unit() + unit_f32)) << to_string(shape);
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
    run([&](Backend& backend, Side s) {
      backend.dequantise(out[s], {.kind = Quantisation::nf4,
                                  .shape = shape,
                                  .codes = of[s],
                                  .scales = scales[s],
                                  .scale_codes = scale_codes[s],
                                  .levels = levels[s],
                                  .first_block = first_block,
                                  .row_stride = row_stride});
    });
    // The mean and what is added to it may cancel.
    EXPECT_TRUE(near(out, 4 * unit_f32, 1.01 * unit() + 2 * unit_f32)) << to_string(shape);
  }
}

}  // namespace
}  // namespace chorus
