#include "tests/ops/operator_test.h"

namespace chorus {
namespace {

class MatmulTest : public OperatorTest {
 protected:
  struct Extents {
    std::int64_t m, n, k;
  };

  // out = scale · op(a) op(b) (+ out) against the reference, out in the element type or in its accumulator. A library
  // may add the products of a single row one after another: then the partial sums, and with them the errors, grow too.
  // And cuBLASLt may round a bf16 product before adding it, unless it is what a low-rank factor adds.
  void compare(const Extents& e, const MatmulOptions& options, bool to_accumulator) {
    const Both a = random(options.transpose_a ? Shape{e.k, e.m} : Shape{e.m, e.k});
    const Both b = random(options.transpose_b ? Shape{e.n, e.k} : Shape{e.k, e.n});
    const Both out = to_accumulator ? random_accumulator({e.m, e.n}) : random({e.m, e.n});
    run([&](Backend& backend, Side s) { backend.matmul(out[s], a[s], b[s], options); });
    const double scale = std::abs(static_cast<double>(options.scale));
    const double terms = static_cast<double>(e.k) + 1, growth = e.m == 1 ? std::sqrt(terms) : 1;
    const bool low_rank = !options.transpose_a && e.k <= 32 && e.k % 2 == 0 && e.n % 8 == 0;
    const bool rounded_twice = std::get<0>(GetParam()).name == "cuda" && dtype() == DType::bf16 &&
                               options.accumulate && !to_accumulator && !low_rank;
    const double product = rounded_twice ? unit() * scale * 1.5 * std::sqrt(terms) : 0;
    // Terms that are added one after another are rounded with sums that grow as their root.
    const double in_order = unit_f32 * terms * scale;
    const double sums = 4 * unit_f32 * std::sqrt(terms) * growth * (scale + 1) + in_order + product;
    EXPECT_TRUE(near(out, sums, 1.01 * (to_accumulator ? unit_f32 : unit())))
        << e.m << " x " << e.n << " x " << e.k << (options.transpose_a ? " aT" : "")
        << (options.transpose_b ? " bT" : "") << (options.accumulate ? " accumulate" : "") << " scale "
        << options.scale;
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, MatmulTest, every_backend_and_type(), parameter_name);

TEST_P(MatmulTest, AllTransposesAndOptions) {
  for (const Extents& e : std::vector<Extents>{{1, 1, 1}, {7, 5, 3}, {33, 17, 65}, {64, 48, 32}}) {
    for (int bits = 0; bits < 16; ++bits) {
      const MatmulOptions options{.transpose_a = (bits & 1) != 0,
                                  .transpose_b = (bits & 2) != 0,
                                  .accumulate = (bits & 4) != 0,
                                  .scale = (bits & 8) != 0 ? -0.37F : 1.0F};
      compare(e, options, false);
      compare(e, options, true);
    }
  }
}

// One less than, exactly, and one more than the tiles into which a product may be cut.
TEST_P(MatmulTest, SizesAroundTiles) {
  for (const Extents& e : std::vector<Extents>{{127, 255, 16},
                                               {128, 256, 16},
                                               {129, 257, 16},
                                               {256, 512, 8},
                                               {257, 513, 8},
                                               {513, 1025, 5},
                                               {3, 2050, 9}}) {
    compare(e, {.transpose_b = true}, false);
    compare(e, {.accumulate = true, .scale = 2}, false);
    compare(e, {.transpose_a = true, .accumulate = true}, true);
  }
}

TEST_P(MatmulTest, LongSums) { compare({9, 11, 5000}, {.transpose_b = true, .scale = 0.125F}, true); }

TEST_P(MatmulTest, ProductsOfHigherRankAreAdded) {
  for (const bool transpose_b : {false, true})
    compare({96, 64, 48}, {.transpose_b = transpose_b, .accumulate = true}, false);
}

// Every rank by which a factor may be low, in matrices that fill no tile.
TEST_P(MatmulTest, WhatLowRankFactorsAdd) {
  for (const std::int64_t rank : {1, 2, 3, 4, 8, 10, 16, 18, 24, 32, 34, 64, 256}) {
    for (const bool transpose_b : {false, true}) {
      for (const Extents& e :
           std::vector<Extents>{{1, 40, rank}, {17, 8, rank}, {145, 264, rank}, {3, 36, rank}})
        compare(e, {.transpose_b = transpose_b, .accumulate = true, .scale = 0.5F}, false);
    }
  }
}

// du = s dy B and dB += s dyᵀ u.
TEST_P(MatmulTest, GradientsOfLowRankFactors) {
  for (const std::int64_t rank : {1, 2, 4, 7, 8, 10, 16, 18, 24, 32, 34, 64, 256}) {
    for (const auto& [tokens, outputs] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {1, 8}, {17, 264}, {37, 40}, {130, 264}, {37, 300}}) {
      compare({tokens, rank, outputs}, {.scale = 0.5F}, false);
      compare({outputs, rank, tokens}, {.transpose_a = true, .accumulate = true, .scale = 0.5F}, true);
    }
  }
  for (const std::int64_t rank : {16, 32}) {
    compare({19, rank, 2056}, {.scale = 2}, false);
    compare({24, rank, 700}, {.transpose_a = true, .accumulate = true, .scale = 2}, true);
    compare({8200, rank, 18}, {.transpose_a = true, .accumulate = true, .scale = 2}, true);
  }
}

TEST_P(MatmulTest, AdapterShapes) {
  compare({130, 16, 96}, {.transpose_b = true}, false);                                     // u = x Aᵀ
  compare({130, 96, 16}, {.transpose_b = true, .accumulate = true, .scale = 2.0F}, false);  // y += s u Bᵀ
  compare({16, 96, 130}, {.transpose_a = true, .accumulate = true}, true);                  // dA += duᵀ x
}

// y += 1 biasᵀ adds a bias to every row, dbias += 1ᵀ dy sums over the rows.
TEST_P(MatmulTest, RankOneShapesOfABias) {
  for (const std::int64_t rows : {1, 2, 7, 130, 513}) {
    compare({rows, 96, 1}, {.accumulate = true}, false);
    compare({rows, 37, 1}, {.accumulate = true}, false);
    compare({1, 96, rows}, {.transpose_a = true, .accumulate = true}, true);
    compare({1, 37, rows}, {.transpose_a = true, .accumulate = true}, true);
  }
}

TEST_P(MatmulTest, EmptyExtents) {
  compare({0, 5, 3}, {}, false);
  compare({5, 0, 3}, {}, false);
  compare({5, 4, 0}, {}, false);
  compare({5, 4, 0}, {.accumulate = true, .scale = 3}, false);
}

TEST_P(MatmulTest, ManyShapesStayRight) {
  for (std::int64_t m = 1; m < 40; ++m) compare({m, 2 * m + 1, 41 - m}, {.transpose_b = m % 2 == 0}, false);
}

TEST_P(MatmulTest, NanReachesTheResult) {
  const auto backend = std::get<0>(GetParam()).make();
  HostTensor a = random_tensor(dtype(), {4, 20}, 1);
  a.set(23, std::nan(""));
  const DeviceTensor left(*backend, a), right(*backend, random_tensor(dtype(), {20, 5}, 2));
  const DeviceTensor out(*backend, dtype(), {4, 5});
  backend->matmul(out, left, right);
  const HostTensor result = out.download();
  for (std::int64_t i = 0; i < 20; ++i) EXPECT_EQ(std::isnan(result.at(i)), i / 5 == 1) << i;
}

}  // namespace
}  // namespace chorus
