#include "tests/ops/operator_test.h"

namespace chorus {
namespace {

class RowsTest : public OperatorTest {};
INSTANTIATE_TEST_SUITE_P(Backends, RowsTest, every_backend_and_type(), parameter_name);

TEST_P(RowsTest, GatherTakesRowsInAnyOrderAndMoreThanOnce) {
  for (const std::int64_t width : {1, 15, 64, 700}) {
    const Both x = random({9, width}), out = random({5, width}), rows = index<std::int32_t>({8, 0, 3, 3, 7});
    run([&](Backend& backend, Side s) { backend.gather_rows(out[s], x[s], rows[s]); });
    EXPECT_TRUE(near(out, 0, 0)) << width;
  }
}

TEST_P(RowsTest, ScatterLeavesOtherRows) {
  for (const std::int64_t width : {1, 15, 64, 700}) {
    const Both x = random({3, width}), out = random({6, width}), rows = index<std::int32_t>({5, 0, 2});
    run([&](Backend& backend, Side s) { backend.scatter_rows(out[s], x[s], rows[s]); });
    EXPECT_TRUE(near(out, 0, 0)) << width;
  }
}

TEST_P(RowsTest, NoRows) {
  const Both x = random({4, 8}), out = random({0, 8}), rows = index(std::vector<std::int32_t>{});
  run([&](Backend& backend, Side s) {
    backend.gather_rows(out[s], x[s], rows[s]);
    backend.scatter_rows(x[s], out[s], rows[s]);
    backend.embed(out[s], x[s], rows[s], 0);
  });
  EXPECT_TRUE(near(x, 0, 0));
}

TEST_P(RowsTest, EmbedHoldsItsShardOfTheVocabulary) {
  const Both tokens = index<std::int32_t>({3, 9, 4, 8, 0, 100, 4});
  for (const std::int64_t width : {1, 24, 300}) {
    const Both table = random({5, width}), out = random({7, width});
    run([&](Backend& backend, Side s) { backend.embed(out[s], table[s], tokens[s], 4); });
    EXPECT_TRUE(near(out, 0, 0)) << width;
  }
}

// Such tokens are rows of features, which something else puts there.
TEST_P(RowsTest, TokensBelowZeroAreInNoShard) {
  const Both tokens = index<std::int32_t>({-1, 2, -7, std::numeric_limits<std::int32_t>::min(), 0, -1});
  for (const std::int64_t width : {1, 24}) {
    const Both table = random({5, width}), out = random({6, width}), dtable = random_accumulator({5, width}),
               dout = random({6, width});
    run([&](Backend& backend, Side s) {
      backend.embed(out[s], table[s], tokens[s], 0);
      backend.embed_backward(dtable[s], dout[s], tokens[s], 0);
    });
    EXPECT_TRUE(near(out, 0, 0)) << width;
    EXPECT_TRUE(near(dtable, 2 * unit_f32, 0)) << width;
  }
}

TEST_P(RowsTest, EmbedBackwardAddsEveryOccurrence) {
  const Both tokens = index<std::int32_t>({3, 9, 4, 8, 4, 100, 4, 4});
  for (const std::int64_t width : {1, 24, 300}) {
    const Both dtable = random_accumulator({5, width}), dout = random({8, width});
    run([&](Backend& backend, Side s) { backend.embed_backward(dtable[s], dout[s], tokens[s], 4); });
    EXPECT_TRUE(near(dtable, 8 * unit_f32, 0)) << width;
  }
}

// More tokens than are looked at together, and more rows than some dims of a grid can have.
TEST_P(RowsTest, ManyRows) {
  std::vector<std::int32_t> list(700);
  for (std::size_t i = 0; i < list.size(); ++i) list[i] = static_cast<std::int32_t>(i * i % 13);
  const Both tokens = index(list), dtable = random_accumulator({11, 16}), dout = random({700, 16});
  std::vector<std::int32_t> many(66000);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<std::int32_t>(i * 7 % 10);
  const Both rows = index(many), x = random({10, 1}), out = random({66000, 1});
  run([&](Backend& backend, Side s) {
    backend.embed_backward(dtable[s], dout[s], tokens[s], 0);
    backend.gather_rows(out[s], x[s], rows[s]);
  });
  EXPECT_TRUE(near(dtable, 64 * 16 * unit_f32, 0));
  EXPECT_TRUE(near(out, 0, 0));
}

}  // namespace
}  // namespace chorus
