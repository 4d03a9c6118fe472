#include "ops/checked_backend.h"

#include <gmock/gmock.h>

#include "ops/cpu/cpu_backend.h"
#include "ops/memory.h"
#include "tests/ops/forests.h"
#include "tests/support/every_operator.h"

namespace chorus {
namespace {

class CheckedBackendTest : public ::testing::Test {
 protected:
  Tensor f32(const Shape& shape) { return arena_.take(DType::f32, shape); }
  Tensor bf16(const Shape& shape) { return arena_.take(DType::bf16, shape); }
  Tensor u8(const Shape& shape) { return arena_.take(DType::u8, shape); }
  Tensor i32(const Shape& shape) { return zeroed(arena_.take(DType::i32, shape)); }
  Tensor i64(const Shape& shape) { return zeroed(arena_.take(DType::i64, shape)); }

  // Expects a refusal that says `text`.
  template <typename Call>
  void refuses(const std::string& text, const Call& call) {
    try {
      call();
      ADD_FAILURE() << "accepted, but expected: " << text;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr(text));
      EXPECT_EQ(error.exit_code(), ExitCode::internal);
    }
  }

  CpuBackend cpu_{1};
  CheckedBackend checked_{cpu_};

 private:
  Tensor zeroed(Tensor x) {
    cpu_.fill(x, 0);
    return x;
  }
  Arena arena_{cpu_, 1 << 20, "test"};
};

TEST_F(CheckedBackendTest, PassesRightCallsOn) {
  const Tensor a = f32({2, 3}), b = f32({4, 3}), out = f32({2, 4});
  checked_.fill(a, 2);
  checked_.fill(b, 0.5);
  checked_.matmul(out, a, b, {.transpose_b = true, .scale = 10});
  std::vector<float> result(8);
  checked_.download(result.data(), out);
  EXPECT_THAT(result, ::testing::Each(30.0F));
  const Buffer buffer = checked_.allocate(100);
  EXPECT_EQ(buffer.bytes(), 100);
}

TEST_F(CheckedBackendTest, PassesEveryOperatorOnAsItIs) {
  const Forest forest = forest_of({{25, -1, 0}, {17, 0, 20}});
  const auto results = [&](Backend& backend) {
    return EveryOperator(cpu_, DType::f32, forest, 8, 50).results(backend);
  };
  const std::vector<HostTensor> expected = results(cpu_), passed_on = results(checked_);
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_TRUE(is_same(passed_on[i], expected[i])) << "result " << i;
}

TEST_F(CheckedBackendTest, Matmul) {
  refuses("matmul: a (f32 [2, 3]) times b (f32 [4, 3]) does not fit", [&] {
    checked_.matmul(f32({2, 4}), f32({2, 3}), f32({4, 3}));
  });
  refuses("matmul: a (f32 [2, 3]) transposed times b (f32 [3, 4]) transposed does not fit", [&] {
    checked_.matmul(f32({2, 4}), f32({2, 3}), f32({3, 4}), {.transpose_a = true, .transpose_b = true});
  });
  refuses("matmul: out (f32 [4, 2]) must be [2, 4]", [&] {
    checked_.matmul(f32({4, 2}), f32({2, 3}), f32({3, 4}));
  });
  refuses("matmul: b (bf16 [3, 4]) must have the type of a (f32 [2, 3])", [&] {
    checked_.matmul(f32({2, 4}), f32({2, 3}), bf16({3, 4}));
  });
  refuses("matmul: out (bf16 [2, 4]) must have the type of a (f32 [2, 3]) or f32", [&] {
    checked_.matmul(bf16({2, 4}), f32({2, 3}), f32({3, 4}));
  });
  refuses("matmul: a (f32 [6]) must have 2 dims", [&] {
    checked_.matmul(f32({2, 4}), f32({6}), f32({3, 4}));
  });
  refuses("matmul: scale is inf", [&] {
    checked_.matmul(f32({2, 4}), f32({2, 3}), f32({3, 4}), {.scale = std::numeric_limits<float>::infinity()});
  });
  const Tensor square = f32({8, 4});
  refuses("matmul: out (f32 [4, 4]) must not overlap a (f32 [4, 4])", [&] {
    checked_.matmul(square.rows(0, 4), square.rows(3, 7), f32({4, 4}));
  });
  EXPECT_NO_THROW(checked_.matmul(square.rows(0, 4), square.rows(4, 8), f32({4, 4})));
  EXPECT_NO_THROW(checked_.matmul(f32({2, 4}), bf16({2, 3}), bf16({3, 4})));
}

TEST_F(CheckedBackendTest, Elementwise) {
  const Tensor x = f32({4, 4}), long_row = f32({32});
  refuses("add: b (f32 [4, 3]) must have the shape of out (f32 [4, 4])", [&] {
    checked_.add(x, x, f32({4, 3}));
  });
  refuses("add: out (f32 [16]) must be a itself or not overlap a (f32 [16])",
          [&] { checked_.add(long_row.rows(0, 16), long_row.rows(1, 17), f32({16})); });
  EXPECT_NO_THROW(checked_.add(x, x, x));
  refuses("add: out (i32 [4]) must be of type f32, bf16 or f64",
          [&] { checked_.add(i32({4}), i32({4}), i32({4})); });
  refuses("convert: x (i32 [4]) cannot become f32", [&] { checked_.convert(f32({4}), i32({4})); });
  refuses("convert: x (f32 [4, 4]) must have the shape of out (bf16 [2, 8])", [&] {
    checked_.convert(bf16({2, 8}), x);
  });
  refuses("convert: out (f32 [4, 4]) must not overlap x (f32 [4, 4])", [&] { checked_.convert(x, x); });
  refuses("dropout: token_ids (i32 [4]) must be of type i64", [&] { checked_.dropout(x, x, i32({4}), {}); });
  refuses("dropout: token_ids (i64 [3]) must be [4]", [&] { checked_.dropout(x, x, i64({3}), {}); });
  refuses("dropout: probability 1 is not in [0, 1)",
          [&] { checked_.dropout(x, x, i64({4}), {.probability = 1.0F}); });
  const std::vector<LowRankDown> path{{f32({4, 2}), f32({2, 4}), {.probability = 0.1F}}};
  EXPECT_NO_THROW(checked_.low_rank_down(path, x, i64({4}), f32({4, 4})));
  refuses("low_rank_down: scratch (f32 [4, 3]) must have the shape of x (f32 [4, 4])", [&] {
    checked_.low_rank_down(path, x, i64({4}), f32({4, 3}));
  });
  refuses("low_rank_down: scratch (f32 [4, 4]) must not overlap x (f32 [4, 4])",
          [&] { checked_.low_rank_down(path, x, i64({4}), x); });
  const std::vector<LowRankInputGradient> wrong_rank{{f32({4, 3}), f32({2, 4}), {}}};
  refuses("low_rank_input_gradient: du (f32 [4, 3]) and a (f32 [2, 4]) do not fit dx (f32 [4, 4])",
          [&] { checked_.low_rank_input_gradient(x, wrong_rank, {}, {}); });
  const std::vector<LowRankFactorGradient> narrow{{bf16({2, 4}), bf16({4, 2}), {}}};
  refuses("low_rank_factor_gradient: da (bf16 [2, 4]) must be of type f32", [&] {
    checked_.low_rank_factor_gradient(narrow, bf16({4, 4}), {}, {});
  });
  refuses("upload: no memory to read to (f32 [4, 4]) from", [&] { checked_.upload(x, nullptr); });
  refuses("download: no memory to write from (f32 [4, 4]) to", [&] { checked_.download(nullptr, x); });
  refuses("swiglu: up (f32 [2, 8]) must have the shape of out", [&] {
    checked_.swiglu(f32({4, 4}), x, f32({2, 8}));
  });
  const Tensor gate = f32({4, 4}), up = f32({4, 4});
  EXPECT_NO_THROW(checked_.swiglu_backward(gate, up, x, gate, up));
  refuses("swiglu_backward: dgate (f32 [4, 4]) must not overlap up (f32 [4, 4])",
          [&] { checked_.swiglu_backward(up, gate, x, gate, up); });
}

TEST_F(CheckedBackendTest, Rows) {
  const Tensor x = f32({5, 8});
  refuses("gather_rows: out (f32 [2, 8]) must be [3, 8]", [&] {
    checked_.gather_rows(f32({2, 8}), x, i32({3}));
  });
  refuses("gather_rows: rows (i64 [2]) must be of type i32", [&] {
    checked_.gather_rows(f32({2, 8}), x, i64({2}));
  });
  refuses("scatter_rows: x (f32 [2, 7]) must be [2, 8]", [&] {
    checked_.scatter_rows(x, f32({2, 7}), i32({2}));
  });
  refuses("embed: first is -1", [&] { checked_.embed(f32({2, 8}), x, i32({2}), -1); });
  refuses("embed: out (bf16 [2, 8]) must have the type of table (f32 [5, 8])", [&] {
    checked_.embed(bf16({2, 8}), x, i32({2}), 0);
  });
  refuses("embed_backward: dtable (bf16 [5, 8]) must be of type f32", [&] {
    checked_.embed_backward(bf16({5, 8}), bf16({2, 8}), i32({2}), 0);
  });
}

TEST_F(CheckedBackendTest, Bias) {
  const Tensor y = bf16({4, 8});
  refuses("add_bias: bias (bf16 [4]) must be [8]", [&] { checked_.add_bias(y, bf16({4})); });
  refuses("add_bias: bias (f32 [8]) must have the type of y", [&] { checked_.add_bias(y, f32({8})); });
  refuses("add_bias: y (bf16 [4, 8]) must not overlap bias",
          [&] { checked_.add_bias(y, y.rows(0, 1).reshape({8})); });
  refuses("bias_backward: dbias (bf16 [8]) must be of type f32",
          [&] { checked_.bias_backward(bf16({8}), y); });
  refuses("bias_backward: dbias (f32 [4]) must be [8]", [&] { checked_.bias_backward(f32({4}), y); });
}

TEST_F(CheckedBackendTest, Dequantise) {
  const Tensor out = bf16({2, 64});
  QuantisedMatrix bytes{.kind = Quantisation::int8,
                        .shape = {2, 64},
                        .codes = u8({2, 64}),
                        .scales = f32({2}),
                        .scale_codes = {},
                        .levels = {}};
  refuses("dequantise: out (bf16 [4, 64]) must be [2, 64]", [&] {
    checked_.dequantise(bf16({4, 64}), bytes);
  });
  const Tensor a = bf16({3, 64}), product = bf16({3, 2});
  refuses("matmul_quantised: a (bf16 [3, 32]) must be [3, 64]", [&] {
    checked_.matmul_quantised(product, bf16({3, 32}), bytes, out);
  });
  refuses("matmul_quantised: out (bf16 [2, 3]) must be [3, 2]", [&] {
    checked_.matmul_quantised(bf16({2, 3}), a, bytes, out);
  });
  refuses("matmul_quantised: scratch (bf16 [4, 64]) must be [2, 64]", [&] {
    checked_.matmul_quantised(product, a, bytes, bf16({4, 64}));
  });
  refuses("matmul_quantised: scratch (bf16 [2, 64]) must not overlap a", [&] {
    checked_.matmul_quantised(bf16({2, 2}), out, bytes, out);
  });
  bytes.scales = f32({3});
  refuses("dequantise: scales (f32 [3]) must be [2]", [&] { checked_.dequantise(out, bytes); });
  bytes.shape = {2, 12};
  refuses("dequantise: out (bf16 [2, 12]) must have a multiple of 8 columns", [&] {
    checked_.dequantise(bf16({2, 12}), bytes);
  });
  QuantisedMatrix halves{.kind = Quantisation::nf4,
                         .shape = {2, 64},
                         .codes = u8({2, 32}),
                         .scales = f32({2}),
                         .scale_codes = u8({2, 1}),
                         .levels = f32({272}),
                         .first_block = 254,
                         .row_stride = 2};
  refuses("dequantise: blocks 254 to 257, of rows 2 apart, in scales (f32 [2])",
          [&] { checked_.dequantise(out, halves); });
  halves.first_block = 0;
  halves.codes = u8({2, 64});
  refuses("dequantise: codes (u8 [2, 64]) must be [2, 32]", [&] { checked_.dequantise(out, halves); });
  halves.codes = u8({2, 33}).reshape({66}).rows(1, 65).reshape({2, 32});
  refuses("dequantise: codes (u8 [2, 32]) must begin at a multiple of 16 bytes",
          [&] { checked_.dequantise(out, halves); });
}

TEST_F(CheckedBackendTest, NormAndRope) {
  const Tensor x = bf16({4, 8}), weight = bf16({8}), rstd = f32({4});
  refuses("rms_norm: rstd (bf16 [4]) must be of type f32", [&] {
    checked_.rms_norm(bf16({4, 8}), bf16({4}), x, weight, 1e-5);
  });
  refuses("rms_norm: weight (bf16 [4]) must be [8]", [&] {
    checked_.rms_norm(bf16({4, 8}), rstd, x, bf16({4}), 1e-5);
  });
  refuses("rms_norm: epsilon is -1", [&] { checked_.rms_norm(bf16({4, 8}), rstd, x, weight, -1); });
  refuses("rms_norm: out (bf16 [4, 8]) must not overlap x",
          [&] { checked_.rms_norm(x, rstd, x, weight, 1e-5); });
  refuses("rms_norm_backward: dx (bf16 [4, 8]) must not overlap dout", [&] {
    checked_.rms_norm_backward(x, x, bf16({4, 8}), weight, rstd);
  });
  refuses("rms_norm_weight_backward: dweight (bf16 [8]) must be of type f32", [&] {
    checked_.rms_norm_weight_backward(bf16({8}), x, bf16({4, 8}), rstd);
  });
  refuses("rope: the head width of x (f32 [2, 1, 3]) must be even", [&] {
    checked_.rope(f32({2, 1, 3}), i32({2}), f32({9, 3}), Rotation::forward);
  });
  refuses("rope: cos_sin (f32 [9, 2]) must be [9, 4]", [&] {
    checked_.rope(f32({2, 1, 4}), i32({2}), f32({9, 2}), Rotation::forward);
  });
}

TEST_F(CheckedBackendTest, Attention) {
  const Forest forest = single_sequence(6);
  const Tensor q = f32({6, 4, 8}), k = f32({6, 2, 8}), v = f32({6, 2, 8}), out = f32({6, 4, 8}),
               lse = f32({6, 4});
  refuses("attention: a forest of 5 tokens for q (f32 [6, 4, 8])",
          [&] { checked_.attention(out, lse, q, k, v, single_sequence(5)); });
  refuses("attention: the heads of q (f32 [6, 4, 8]) must be a multiple of those of k (f32 [6, 3, 8])", [&] {
    checked_.attention(out, lse, q, f32({6, 3, 8}), f32({6, 3, 8}), forest);
  });
  refuses("attention: k (f32 [6, 2, 4]) must have the tokens and the head width of q", [&] {
    checked_.attention(out, lse, q, f32({6, 2, 4}), f32({6, 2, 4}), forest);
  });
  refuses("attention: lse (f32 [4, 6]) must be [6, 4]", [&] {
    checked_.attention(out, f32({4, 6}), q, k, v, forest);
  });
  refuses("attention: the head width of q (f32 [6, 1, 264]) must be between 1 and 256", [&] {
    checked_.attention(f32({6, 1, 264}), f32({6, 1}), f32({6, 1, 264}), f32({6, 1, 264}), f32({6, 1, 264}),
                       forest);
  });
  refuses("segment 1 begins at 0 instead of 3", [&] {
    checked_.attention(out, lse, q, k, v, Forest{{{0, 3, -1, 0}, {0, 3, -1, 0}}, 6});
  });
  refuses("attention: out (f32 [6, 4, 8]) must not overlap q",
          [&] { checked_.attention(q, lse, q, k, v, forest); });
  refuses("attention_backward: dk (f32 [6, 2, 8]) must not overlap dv", [&] {
    const Tensor dk = f32({6, 2, 8});
    checked_.attention_backward(f32({6, 4, 8}), dk, dk, f32({6, 4, 8}), out, lse, q, k, v, forest);
  });
  refuses("cached_attention: lengths (i32 [2]) must be [3]", [&] {
    checked_.cached_attention(f32({3, 4, 8}), f32({3, 4, 8}), f32({3, 9, 2, 8}), f32({3, 9, 2, 8}), i32({2}));
  });
}

TEST_F(CheckedBackendTest, Relu) {
  const Tensor x = f32({3, 5}), out = f32({3, 5});
  refuses("relu: x (f32 [3, 4]) must have the shape of out", [&] { checked_.relu(out, f32({3, 4})); });
  refuses("relu_backward: dout (bf16 [3, 5]) must have the type of dx", [&] {
    checked_.relu_backward(out, bf16({3, 5}), x);
  });
  refuses("relu_backward: dx (f32 [3, 5]) must not overlap x", [&] { checked_.relu_backward(x, out, x); });
}

TEST_F(CheckedBackendTest, LossAndOptimizer) {
  const Tensor logits = f32({3, 5}), lse = f32({3}), rows = i32({2}), tokens = i32({2});
  refuses("log_sum_exp: logits (bf16 [3, 5]) must be of type f32 or f64", [&] {
    checked_.log_sum_exp(lse, bf16({3, 5}));
  });
  refuses("combine_log_sum_exp: lse (f32 [3]) must be [5]",
          [&] { checked_.combine_log_sum_exp(lse, logits); });
  refuses("target_log_probability: out (f32 [3]) must be [2]",
          [&] { checked_.target_log_probability(f32({3}), logits, lse, rows, tokens, 0); });
  refuses("target_log_probability: tokens (i32 [3]) must have the shape of rows",
          [&] { checked_.target_log_probability(f32({2}), logits, lse, rows, i32({3}), 0); });
  refuses("cross_entropy_backward: dlogits (bf16 [3, 4]) must have the shape of logits", [&] {
    checked_.cross_entropy_backward(bf16({3, 4}), logits, lse, rows, tokens, f32({2}), 0, 1);
  });
  refuses("cross_entropy_backward: weights (f32 [3]) must have the shape of rows", [&] {
    checked_.cross_entropy_backward(bf16({3, 5}), logits, lse, rows, tokens, f32({3}), 0, 1);
  });
  refuses("sum_of_squares: out (f32 [2]) must be [1]", [&] { checked_.sum_of_squares(f32({2}), f32({9})); });
  const Tensor value = f32({9}), m = f32({9}), v = f32({9}), gradient = f32({9});
  refuses("adamw: step is 0, the first one is 1",
          [&] { checked_.adamw(value, m, v, gradient, {.step = 0}); });
  refuses("adamw: beta1 is 0.9 and beta2 is 1, not in [0, 1)",
          [&] { checked_.adamw(value, m, v, gradient, {.beta2 = 1}); });
  refuses("adamw: value (f32 [9]) must not overlap m",
          [&] { checked_.adamw(value, value, v, gradient, {}); });
}

}  // namespace
}  // namespace chorus
