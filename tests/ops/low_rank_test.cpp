#include "tests/ops/operator_test.h"

namespace chorus {
namespace {

// Up to three paths, each of which drops what its mask says.
struct Case {
  std::int64_t tokens, inputs;
  std::vector<std::int64_t> ranks;
  std::vector<float> probabilities;
  std::int64_t first_feature = 0;
};

class LowRankTest : public OperatorTest {
 protected:
  static std::vector<Case> cases() {
    std::vector<Case> cases;
    for (const std::int64_t tokens : {1, 16, 37, 130}) {
      for (const std::int64_t inputs : {8, 96, 264}) {
        cases.push_back({tokens, inputs, {16}, {0}});
        cases.push_back({tokens, inputs, {8}, {0.3F}});
        cases.push_back({tokens, inputs, {16, 16, 16}, {0.1F, 0.1F, 0.1F}});
        cases.push_back({tokens, inputs, {2, 32}, {0, 0.5F}, 40});
      }
    }
    cases.push_back({0, 16, {4}, {0.1F}});
    cases.push_back({33, 40, {5, 64}, {0.1F, 0}});  // an odd rank, a high one
    cases.push_back({33, 40, {1, 256}, {0, 0.1F}});
    cases.push_back({33, 37, {16}, {0.1F}});     // rows that are not aligned
    cases.push_back({33, 48, {16}, {0.1F}, 6});  // words that decide on features of another rank too
    cases.push_back({21, 64, {4, 4, 4, 4}, {0.1F, 0.1F, 0.1F, 0.1F}});
    cases.push_back({700, 24, {16}, {0.05F}});
    cases.push_back({19, 2056, {16, 16}, {0.05F, 0}});
    return cases;
  }

  // With the memory of one case.
  struct Paths {
    const Case& shape;
    Both token_ids, scratch;
    std::vector<Both> a, u, da;

    DropoutMask mask(std::size_t i) const {
      return {.probability = shape.probabilities[i],
              .seed = 11,
              .step = 3,
              .stream = static_cast<std::uint32_t>(i),
              .first_feature = shape.first_feature};
    }
  };

  Paths paths(const Case& shape) {
    std::vector<std::int64_t> ids;
    for (std::int64_t n = 0; n < shape.tokens; ++n) ids.push_back(5 + n * n);
    Paths paths{shape, index(ids), random({shape.tokens, shape.inputs}), {}, {}, {}};
    for (const std::int64_t rank : shape.ranks) {
      paths.a.push_back(random({rank, shape.inputs}));
      paths.u.push_back(random({shape.tokens, rank}));
      paths.da.push_back(random_accumulator({rank, shape.inputs}));
    }
    return paths;
  }

  // Of a sum of so many products of two numbers up to 1, of which one may have been scaled and rounded. Terms that are added
  // one after another are rounded with sums that grow as their root.
  double sum_error(std::int64_t terms, float probability) const {
    const auto count = static_cast<double>(terms) + 1;
    return (4 * unit_f32 * std::sqrt(count) + unit_f32 * count +
            (probability > 0 ? 1.5 * unit() * std::sqrt(count) : 0)) /
           (1 - static_cast<double>(probability));
  }
  // Of the survivors' scale, of what it multiplies, and of the result.
  double relative(double unit_of_result) const { return 1.01 * unit_of_result + 4 * unit_f32; }
};
INSTANTIATE_TEST_SUITE_P(Backends, LowRankTest, every_backend_and_type(), parameter_name);

TEST_P(LowRankTest, Down) {
  for (const Case& shape : cases()) {
    const Paths p = paths(shape);
    const Both x = random({shape.tokens, shape.inputs});
    run([&](Backend& backend, Side s) {
      std::vector<LowRankDown> asked;
      for (std::size_t i = 0; i < p.a.size(); ++i) asked.push_back({p.u[i][s], p.a[i][s], p.mask(i)});
      backend.low_rank_down(asked, x[s], p.token_ids[s], p.scratch[s]);
    });
    for (std::size_t i = 0; i < p.a.size(); ++i) {
      EXPECT_TRUE(near(p.u[i], sum_error(shape.inputs, shape.probabilities[i]), relative(unit())))
          << shape.tokens << " x " << shape.inputs << ", path " << i << " of " << p.a.size();
    }
  }
}

TEST_P(LowRankTest, InputGradient) {
  for (const Case& shape : cases()) {
    const Paths p = paths(shape);
    const Both dx = random({shape.tokens, shape.inputs});
    run([&](Backend& backend, Side s) {
      std::vector<LowRankInputGradient> asked;
      for (std::size_t i = 0; i < p.a.size(); ++i) asked.push_back({p.u[i][s], p.a[i][s], p.mask(i)});
      backend.low_rank_input_gradient(dx[s], asked, p.token_ids[s], p.scratch[s]);
    });
    double error = 0;  // of each sum; which may be rounded before it is added, and what is there after each
    for (std::size_t i = 0; i < p.a.size(); ++i) {
      const double size = std::sqrt(static_cast<double>(shape.ranks[i]) + 1);
      error += 3 * unit() * size / (1 - static_cast<double>(shape.probabilities[i]));
      error += sum_error(shape.ranks[i], shape.probabilities[i]);
    }
    EXPECT_TRUE(near(dx, error, relative(unit())))
        << shape.tokens << " x " << shape.inputs << ", " << p.a.size() << " paths";
  }
}

TEST_P(LowRankTest, FactorGradient) {
  for (const Case& shape : cases()) {
    const Paths p = paths(shape);
    const Both x = random({shape.tokens, shape.inputs});
    run([&](Backend& backend, Side s) {
      std::vector<LowRankFactorGradient> asked;
      for (std::size_t i = 0; i < p.a.size(); ++i) asked.push_back({p.da[i][s], p.u[i][s], p.mask(i)});
      backend.low_rank_factor_gradient(asked, x[s], p.token_ids[s], p.scratch[s]);
    });
    for (std::size_t i = 0; i < p.a.size(); ++i) {
      EXPECT_TRUE(near(p.da[i], sum_error(shape.tokens, shape.probabilities[i]), relative(unit_f32)))
          << shape.tokens << " x " << shape.inputs << ", path " << i << " of " << p.a.size();
    }
  }
}

// Where nothing is dropped neither is needed.
TEST_P(LowRankTest, WithoutDropoutNeitherTokensNorScratch) {
  const Both x = random({9, 32}), a = random({4, 32}), u = random({9, 4});
  run([&](Backend& backend, Side s) {
    const std::vector<LowRankDown> asked{{u[s], a[s], {}}};
    backend.low_rank_down(asked, x[s], {}, {});
  });
  EXPECT_TRUE(near(u, sum_error(32, 0), relative(unit())));
}

}  // namespace
}  // namespace chorus
