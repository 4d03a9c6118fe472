#include "tests/ops/forests.h"
#include "tests/ops/operator_test.h"

namespace chorus {
namespace {

struct Heads {
  std::int64_t query, key, width;
};
constexpr Heads any_heads[] = {{4, 2, 8}, {6, 2, 64}, {3, 3, 128}, {2, 1, 256},
                               {1, 1, 1}, {2, 1, 40}, {4, 2, 80},  {5, 1, 17}};

class AttentionTest : public OperatorTest {
 protected:
  // Scores are sums of K products up to 1, divided by √K; their error moves the output, a mean of values up
  // to 1, by twice as much.
  double score_error(std::int64_t width) const {
    return 2 * unit_f32 * (4 + std::sqrt(static_cast<double>(width)));
  }

  // What kernels on tensor cores add: they round probabilities and score gradients to bf16 before they multiply
  // them, by up to one unit of a mean of values up to 1. They serve head widths 64 and 128.
  double rounding_of_weights(std::int64_t width) const {
    const bool rounds = std::get<0>(GetParam()).name == "cuda" && dtype() == DType::bf16;
    return rounds && (width == 64 || width == 128) ? unit() : 0;
  }

  void compare_forward(const NamedForest& example, const Heads& h, double magnitude = 1) {
    const std::int64_t tokens = example.forest.tokens;
    const Both q = random({tokens, h.query, h.width}, -magnitude, magnitude),
               k = random({tokens, h.key, h.width});
    const Both v = random({tokens, h.key, h.width}), out = random({tokens, h.query, h.width});
    const Both lse = random_accumulator({tokens, h.query});
    run([&](Backend& backend, Side s) {
      backend.attention(out[s], lse[s], q[s], k[s], v[s], example.forest);
    });
    const double error = 2 * magnitude * score_error(h.width);
    EXPECT_TRUE(near(lse, error, 4 * unit_f32)) << example.name << ", K = " << h.width;
    EXPECT_TRUE(near(out, error + rounding_of_weights(h.width), 1.01 * unit()))
        << example.name << ", K = " << h.width;
  }

  void compare_backward(const NamedForest& example, const Heads& h) {
    const std::int64_t tokens = example.forest.tokens;
    const HostTensor q = random_tensor(dtype(), {tokens, h.query, h.width}, 1);
    const HostTensor k = random_tensor(dtype(), {tokens, h.key, h.width}, 2);
    const HostTensor v = random_tensor(dtype(), {tokens, h.key, h.width}, 3);
    const HostTensor dout = random_tensor(dtype(), {tokens, h.query, h.width}, 4);
    // Both sides get what a forward pass in this type would have saved.
    ReferenceBackend exact;
    const DeviceTensor exact_out(exact, DType::f64, {tokens, h.query, h.width});
    const DeviceTensor exact_lse(exact, DType::f64, {tokens, h.query});
    exact.attention(exact_out, exact_lse, DeviceTensor(exact, converted(q, DType::f64)).view(),
                    DeviceTensor(exact, converted(k, DType::f64)).view(),
                    DeviceTensor(exact, converted(v, DType::f64)).view(), example.forest);
    const Both qs = both(q), ks = both(k), vs = both(v), douts = both(dout);
    const Both outs = both(converted(exact_out.download(), dtype()));
    const Both lses = both(converted(exact_lse.download(), DType::f32));
    const Both dq = random(q.shape()), dk = random(k.shape()), dv = random(v.shape());
    run([&](Backend& backend, Side s) {
      backend.attention_backward(dq[s], dk[s], dv[s], douts[s], outs[s], lses[s], qs[s], ks[s], vs[s],
                                 example.forest);
    });
    // dk and dv are sums over the queries of a group; ds is p (dp - delta) with |dp|, |delta| up to K.
    const double sums = std::sqrt(static_cast<double>(tokens * h.query / h.key));
    const double error = score_error(h.width) * std::sqrt(static_cast<double>(h.width)) * sums +
                         rounding_of_weights(h.width) * std::sqrt(static_cast<double>(h.query / h.key));
    EXPECT_TRUE(near(dq, error, 1.01 * unit())) << example.name << ", K = " << h.width;
    EXPECT_TRUE(near(dk, error, 1.01 * unit())) << example.name << ", K = " << h.width;
    EXPECT_TRUE(near(dv, error, 1.01 * unit())) << example.name << ", K = " << h.width;
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, AttentionTest, every_backend_and_type(), parameter_name);

TEST_P(AttentionTest, ForwardOnForests) {
  for (const NamedForest& example : example_forests()) compare_forward(example, {2, 2, 32});
}

// The widths of the kernels on tensor cores, which do not compute in f32.
TEST_P(AttentionTest, ForwardOnForestsWithWideHeads) {
  for (const std::int32_t length : {1, 63, 64, 65, 161}) {
    if (dtype() == DType::bf16) compare_forward({"one sequence", single_sequence(length)}, {2, 1, 64});
  }
  for (const NamedForest& example : deep_forests()) compare_forward(example, {4, 2, 128});
}

TEST_P(AttentionTest, ForwardWithAnyHeads) {
  for (const Heads& h : any_heads) {
    compare_forward({"branches", forest_of({{41, -1, 0}, {9, 0, 33}, {20, 1, 4}})}, h);
  }
}

TEST_P(AttentionTest, ForwardWithSharpScores) {
  compare_forward({"three blocks", single_sequence(161)}, {2, 1, 64}, 60);
}

TEST_P(AttentionTest, BackwardOnForests) {
  for (const NamedForest& example : example_forests()) compare_backward(example, {2, 2, 32});
}

TEST_P(AttentionTest, BackwardOnForestsWithWideHeads) {
  for (const std::int32_t length : {1, 63, 64, 65, 161}) {
    if (dtype() == DType::bf16) compare_backward({"one sequence", single_sequence(length)}, {2, 1, 64});
  }
  for (const NamedForest& example : deep_forests()) compare_backward(example, {2, 1, 128});
  if (dtype() == DType::bf16) compare_backward(deep_forests().back(), {4, 2, 64});
}

// With one-hot q, k and dout the gradients are matrices of pairs: dq[n, j] and dk[j, n] have one term each, dv[j, n] is
// the probability of j seen from n. So each pair is compared alone, and what is not seen must be exactly 0.
TEST_P(AttentionTest, EveryPairHasItsOwnGradient) {
  const std::int64_t width = 128;
  for (const NamedForest& example : deep_forests()) {
    const std::int64_t tokens = example.forest.tokens;
    ASSERT_LE(tokens, width);
    HostTensor one_hot(dtype(), {tokens, 1, width});
    for (std::int64_t n = 0; n < tokens; ++n) one_hot.set(n * width + n, 1);
    const Both q = both(one_hot), k = both(one_hot), v = random({tokens, 1, width}), dout = both(one_hot);
    const Both out = random({tokens, 1, width}), lse = random_accumulator({tokens, 1});
    const Both dq = random(q[Side::tested].shape()), dk = random(q[Side::tested].shape());
    const Both dv = random(q[Side::tested].shape());
    run([&](Backend& backend, Side s) {
      backend.attention(out[s], lse[s], q[s], k[s], v[s], example.forest);
    });
    const HostTensor saved = out.tested.download();
    const Both outs = both(saved);
    run([&](Backend& backend, Side s) {
      backend.attention_backward(dq[s], dk[s], dv[s], dout[s], outs[s], lse[s], q[s], k[s], v[s],
                                 example.forest);
    });
    // ds is the difference of dp and delta, both up to 1, over √K.
    const double error = 8 * unit_f32 / std::sqrt(static_cast<double>(width));
    EXPECT_TRUE(near(dv, 0, 2.1 * unit() + 32 * unit_f32)) << example.name;
    EXPECT_TRUE(near(dq, error, 2.1 * unit() + 32 * unit_f32)) << example.name;
    EXPECT_TRUE(near(dk, error, 2.1 * unit() + 32 * unit_f32)) << example.name;
  }
}

// Tensors that begin anywhere, also where vectors cannot be read.
TEST_P(AttentionTest, TensorsNeedNoAlignment) {
  const auto backend = std::get<0>(GetParam()).make();
  const std::int64_t tokens = 21, width = 64, elements = tokens * width;
  const Forest forest = single_sequence(21);
  const auto attend = [&](std::int64_t offset) {
    const auto place = [&](std::uint64_t seed) {
      const HostTensor values = random_tensor(dtype(), {elements}, seed);
      HostTensor padded(dtype(), {elements + offset});
      for (std::int64_t i = 0; i < elements; ++i) padded.set(offset + i, values.at(i));
      return DeviceTensor(*backend, padded);
    };
    const auto view = [&](const DeviceTensor& x) {
      return x.view().rows(offset, offset + elements).reshape({tokens, 1, width});
    };
    const DeviceTensor q = place(1), k = place(2), v = place(3), dout = place(4), out = place(5),
                       dq = place(6), dk = place(7), dv = place(8), lse(*backend, DType::f32, {tokens, 1});
    backend->attention(view(out), lse, view(q), view(k), view(v), forest);
    backend->attention_backward(view(dq), view(dk), view(dv), view(dout), view(out), lse, view(q), view(k),
                                view(v), forest);
    std::vector<HostTensor> results;
    for (const DeviceTensor* x : {&out, &dq, &dk, &dv}) {
      HostTensor result(dtype(), {tokens, 1, width});
      backend->download(result.data(), view(*x));
      results.push_back(std::move(result));
    }
    return results;
  };
  const std::vector<HostTensor> aligned = attend(0), shifted = attend(1);
  const double error = score_error(width) * std::sqrt(static_cast<double>(width * tokens));
  for (std::size_t i = 0; i < aligned.size(); ++i)
    EXPECT_TRUE(is_near(shifted[i], aligned[i], error + 2 * rounding_of_weights(width), 2.1 * unit())) << i;
}

TEST_P(AttentionTest, BackwardWithAnyHeads) {
  for (const Heads& h : any_heads) {
    compare_backward({"branches", forest_of({{41, -1, 0}, {9, 0, 33}, {20, 1, 4}})}, h);
  }
}

// The promise of prefix sharing: a tree gives every branch what it would get as a sequence of its own.
TEST_P(AttentionTest, TreeEqualsSeparateSequences) {
  const auto backend = std::get<0>(GetParam()).make();
  const std::int64_t width = 16, trunk = 37, branch = 11, at = 29;
  const Forest tree = forest_of({{trunk, -1, 0}, {branch, 0, at}});
  const auto part = [&](const HostTensor& x, std::int64_t begin, std::int64_t end, HostTensor& to,
                        std::int64_t row) {
    for (std::int64_t i = begin * width; i < end * width; ++i) to.set((row - begin) * width + i, x.at(i));
  };
  std::vector<HostTensor> whole, alone;
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    whole.push_back(random_tensor(dtype(), {trunk + branch, 1, width}, seed));
    alone.emplace_back(dtype(), Shape{at + branch, 1, width});
    part(whole.back(), 0, at, alone.back(), 0);
    part(whole.back(), trunk, trunk + branch, alone.back(), at);
  }
  const auto attend = [&](const std::vector<HostTensor>& qkv, const Forest& forest) {
    const DeviceTensor q(*backend, qkv[0]), k(*backend, qkv[1]), v(*backend, qkv[2]);
    const DeviceTensor out(*backend, dtype(), qkv[0].shape()), lse(*backend, DType::f32, {forest.tokens, 1});
    backend->attention(out, lse, q, k, v, forest);
    return out.download();
  };
  const HostTensor shared = attend(whole, tree), separate = attend(alone, single_sequence(at + branch));
  HostTensor shared_branch(dtype(), {branch, 1, width}), separate_branch(dtype(), {branch, 1, width});
  part(shared, trunk, trunk + branch, shared_branch, 0);
  part(separate, at, at + branch, separate_branch, 0);
  EXPECT_TRUE(is_near(shared_branch, separate_branch, score_error(width), 2 * unit()));
}

TEST_P(AttentionTest, CachedAttentionSeesItsOwnRows) {
  for (const Heads& h : {Heads{2, 2, 8}, {4, 2, 32}, {6, 2, 64}, {8, 1, 128}, {3, 3, 5}}) {
    const Both q = random({4, h.query, h.width}), out = random({4, h.query, h.width});
    const Both k = random({4, 70, h.key, h.width}), v = random({4, 70, h.key, h.width});
    const Both lengths = index<std::int32_t>({1, 70, 33, 64});
    run([&](Backend& backend, Side s) { backend.cached_attention(out[s], q[s], k[s], v[s], lengths[s]); });
    EXPECT_TRUE(near(out, 2 * score_error(h.width), 1.01 * unit())) << "K = " << h.width;
  }
}

// More rows than one warp of a GPU reads, and lengths around its part.
TEST_P(AttentionTest, CachedAttentionOverManyRows) {
  for (const Heads& h : {Heads{4, 2, 24}, {2, 1, 64}, {2, 2, 128}}) {
    for (const std::int32_t rows : {260, 1030}) {
      const Both q = random({6, h.query, h.width}), out = random({6, h.query, h.width});
      const Both k = random({6, rows, h.key, h.width}), v = random({6, rows, h.key, h.width});
      const Both lengths = index<std::int32_t>({31, 32, 33, 64, 65, rows});
      run([&](Backend& backend, Side s) { backend.cached_attention(out[s], q[s], k[s], v[s], lengths[s]); });
      EXPECT_TRUE(near(out, 2 * score_error(h.width), 1.01 * unit()))
          << "K = " << h.width << ", S = " << rows;
    }
  }
}

// Decoding token by token gives what the whole sequence gives at once.
TEST_P(AttentionTest, CachedAttentionEqualsTheLastRowOfAttention) {
  const auto backend = std::get<0>(GetParam()).make();
  const std::int64_t tokens = 67, width = 24;
  const HostTensor q = random_tensor(dtype(), {tokens, 2, width}, 1);
  const DeviceTensor queries(*backend, q), k(*backend, random_tensor(dtype(), {tokens, 1, width}, 2));
  const DeviceTensor v(*backend, random_tensor(dtype(), {tokens, 1, width}, 3));
  const DeviceTensor out(*backend, dtype(), {tokens, 2, width}), lse(*backend, DType::f32, {tokens, 2});
  backend->attention(out, lse, queries, k, v, single_sequence(static_cast<std::int32_t>(tokens)));
  const DeviceTensor one(*backend, dtype(), {1, 2, width});
  const DeviceTensor lengths(*backend, integers(DType::i32, std::vector<std::int32_t>{67}));
  backend->cached_attention(one, queries.view().rows(tokens - 1, tokens),
                            k.view().reshape({1, tokens, 1, width}), v.view().reshape({1, tokens, 1, width}),
                            lengths);
  HostTensor last(dtype(), {1, 2, width});
  const HostTensor all = out.download();
  for (std::int64_t i = 0; i < last.elements(); ++i) last.set(i, all.at((tokens - 1) * 2 * width + i));
  EXPECT_TRUE(is_near(one.download(), last, score_error(width), 2 * unit()));
}

}  // namespace
}  // namespace chorus
