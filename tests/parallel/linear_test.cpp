#include "parallel/linear.h"

#include <cmath>

#include <gtest/gtest.h>

#include "ops/transfer.h"
#include "parallel/thread_communicator.h"
#include "tests/support/reference_backend.h"

namespace chorus {
namespace {

constexpr std::int64_t n = 5, inputs = 8, outputs = 12, rank_r = 3;

std::vector<float> random_values(std::int64_t count, std::uint32_t stream) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = uniform(random_word(1, RandomUse::initial_value, stream, i)) - 0.5F;
  }
  return values;
}

// Full tensors after one forward and backward pass.
struct Results {
  std::vector<float> y, dx, da, db, dw, dbias;
};

class LinearCase {
 public:
  LinearCase(const Groups& groups, Split split, bool full)
      : groups_(groups),
        split_(split),
        arena_(backend_, 1 << 20, "test"),
        parameters_(backend_, groups, DType::f64),
        linear_(backend_, groups.tensor, split),
        path_({.rank = rank_r, .scale = 0.7F, .dropout = 0.3F, .seed = 4}, {outputs, inputs, split}, "a", "b",
              backend_, groups.tensor, parameters_) {
    Parameter& w = parameters_.add("w", {outputs, inputs}, Placement::sharded, split == Split::rows ? 1 : 0);
    Parameter* bias =
        split == Split::columns ? &parameters_.add("bias", {outputs}, Placement::sharded) : nullptr;
    parameters_.allocate(arena_);
    parameters_.assign(path_.a(), random_values(rank_r * inputs, 1));
    parameters_.assign(path_.b(), random_values(outputs * rank_r, 2));
    parameters_.assign(w, random_values(outputs * inputs, 3));
    if (full) {
      linear_.weight.trained = &w;
    } else {
      linear_.weight.frozen = w.value;
    }
    if (bias != nullptr) {
      parameters_.assign(*bias, random_values(outputs, 6));
      linear_.bias = full ? Weight{{}, bias} : Weight{bias->value};
    }
  }

  Results run() {
    const int ranks = groups_.tensor.size(), rank = groups_.tensor.rank();
    const Shard in = split_ == Split::rows ? shard(inputs, rank, ranks) : Shard{0, inputs};
    const Shard out = split_ == Split::columns ? shard(outputs, rank, ranks) : Shard{0, outputs};
    const Tensor x = part_of(random_values(n * inputs, 4), inputs, in);
    const Tensor dy = part_of(random_values(n * outputs, 5), outputs, out);
    const Tensor y = arena_.take(DType::f64, {n, out.length()}),
                 dx = arena_.take(DType::f64, {n, in.length()});
    const Tensor u = path_.take_u(arena_, n, DType::f64);
    const std::vector<std::int64_t> ids{7, 8, 100, 3, 5};
    const Dropout dropout{upload_integers(backend_, arena_, ids), 6};
    const std::vector<Linear::Forward> forward{{&linear_, y, {&path_, u}}};
    const std::vector<Linear::Backward> backward{{&linear_, dy, {&path_, u}}};
    Linear::forward(forward, x, dropout, arena_);
    Linear::backward(dx, backward, x, dropout, arena_);
    if (split_ == Split::columns) groups_.tensor.all_reduce(dx);
    parameters_.reduce_gradients();
    Results results;
    results.y = whole(y, outputs, out);
    results.dx = whole(dx, inputs, in);
    for (const Parameter& p : parameters_.all()) {
      const auto gradient = parameters_.gather(p, parameters_.gradients(), arena_);
      (p.name == "a"   ? results.da
       : p.name == "b" ? results.db
       : p.name == "w" ? results.dw
                       : results.dbias) = gradient;
    }
    return results;
  }

 private:
  Tensor part_of(const std::vector<float>& full, std::int64_t columns, const Shard& part) {
    const Tensor tensor = arena_.take(DType::f64, {n, part.length()});
    upload_floats(backend_, tensor, slice(full, {n, columns}, 1, part));
    return tensor;
  }
  // Puts the ranks' columns together.
  std::vector<float> whole(Tensor part, std::int64_t columns, const Shard& range) {
    if (range.length() == columns) return download_floats(backend_, part);
    std::vector<float> full(static_cast<std::size_t>(n * columns)), own = download_floats(backend_, part);
    for (std::int64_t row = 0; row < n; ++row) {
      std::copy_n(own.begin() + row * range.length(), range.length(),
                  full.begin() + row * columns + range.begin);
    }
    const Tensor tensor = arena_.take(DType::f64, {n, columns});
    upload_floats(backend_, tensor, full);
    groups_.tensor.all_reduce(tensor);
    return download_floats(backend_, tensor);
  }

  Groups groups_;
  Split split_;
  ReferenceBackend backend_;
  Arena arena_;
  ParameterSet parameters_;
  Linear linear_;
  LowRank path_;
};

void expect_near(const std::vector<float>& a, const std::vector<float>& b, const char* what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-6F) << what << " " << i;
}

TEST(Linear, OneTwoAndFourRanksAgree) {
  for (const Split split : {Split::columns, Split::rows}) {
    for (const bool full : {false, true}) {
      Results expected;
      for (const int ranks : {1, 2, 4}) {
        run_on_threads(1, ranks, [&](const Groups& groups) {
          const Results results = LinearCase(groups, split, full).run();
          if (ranks == 1) {
            expected = results;
            return;
          }
          expect_near(results.y, expected.y, "y");
          expect_near(results.dx, expected.dx, "dx");
          expect_near(results.da, expected.da, "da");
          expect_near(results.db, expected.db, "db");
          expect_near(results.dw, expected.dw, "dw");
          expect_near(results.dbias, expected.dbias, "dbias");
        });
      }
      EXPECT_NE(expected.da[0], 0);
      EXPECT_NE(expected.db[0], 0);
      if (split == Split::columns) {
        EXPECT_EQ(expected.dbias[0] != 0, full);
      }
    }
  }
}

// y = x Wᵀ + b + s (x Aᵀ) Bᵀ by hand, without dropout.
TEST(Linear, EquationOfTheHeader) {
  ReferenceBackend backend;
  IdleCommunicator solo;
  const Groups groups{ProcessGrid{}, solo, solo, solo};
  Arena arena(backend, 1 << 16, "test");
  ParameterSet parameters(backend, groups, DType::f64);
  Linear linear(backend, solo, Split::columns);
  const LowRank path({.rank = 1, .scale = 2}, {2, 2}, "a", "b", backend, solo, parameters);
  Parameter& w = parameters.add("w", {2, 2}, Placement::sharded);
  parameters.allocate(arena);
  parameters.assign(path.a(), std::vector<float>{1, 2});
  parameters.assign(path.b(), std::vector<float>{3, 4});
  parameters.assign(w, std::vector<float>{1, 0, 0, 1});
  linear.weight.frozen = w.value;
  const Tensor x = arena.take(DType::f64, {1, 2}), y = arena.take(DType::f64, {1, 2});
  upload_floats(backend, x, std::vector<float>{5, 6});
  const std::vector<Linear::Forward> with{{&linear, y, {&path, path.take_u(arena, 1, DType::f64)}}};
  Linear::forward(with, x, {}, arena);
  EXPECT_EQ(download_floats(backend, y), (std::vector<float>{5 + 2 * 17 * 3, 6 + 2 * 17 * 4}));
  const std::vector<Linear::Forward> without{{&linear, y}};
  Linear::forward(without, x, {}, arena);
  EXPECT_EQ(download_floats(backend, y), (std::vector<float>{5, 6})) << "the same layer without";
  linear.bias = Weight{w.value.rows(0, 1).reshape({2})};
  Linear::forward(without, x, {}, arena);
  EXPECT_EQ(download_floats(backend, y), (std::vector<float>{5 + 1, 6}));
}

}  // namespace
}  // namespace chorus
