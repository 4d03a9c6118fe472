#include "tests/support/every_operator.h"

#include <algorithm>
#include <numeric>

namespace chorus {

namespace {

constexpr std::int64_t heads = 6, key_heads = 2, head_width = 32;
constexpr std::int64_t table_rows = 40;
constexpr std::int64_t first_token = 3;  // of a shard

using Outputs = std::vector<Tensor>;

std::vector<std::int32_t> ascending(std::int64_t count) {
  std::vector<std::int32_t> list(static_cast<std::size_t>(count));
  std::iota(list.begin(), list.end(), 0);
  return list;
}

std::vector<std::int32_t> some_tokens(std::int64_t count) {
  std::vector<std::int32_t> list = ascending(count);
  for (std::int32_t& token : list) token = token * token % table_rows;
  return list;
}

}  // namespace

EveryOperator::EveryOperator(Backend& backend, DType dtype, const Forest& forest, std::int64_t width,
                             std::int64_t vocabulary)
    : backend_(backend), dtype_(dtype), tokens_(forest.tokens), width_(width), vocabulary_(vocabulary) {
  add_elementwise();
  add_products();
  add_dequantised();
  add_biases();
  add_low_rank_paths();
  add_rows();
  add_norms();
  add_attention(forest);
  add_losses();
  add_optimizer();
}

Tensor EveryOperator::random(DType dtype, const Shape& shape, double low) {
  return take(random_tensor(dtype, shape, ++seed_, low));
}

std::vector<HostTensor> EveryOperator::results(Backend& backend) const {
  std::vector<HostTensor> results;
  for (const OperatorCall& call : calls_) {
    call(backend);
    for (const Tensor& output : call.outputs) {
      results.emplace_back(output.dtype(), output.shape());
      backend.download(results.back().data(), output);
    }
  }
  return results;
}

void EveryOperator::add_elementwise() {
  const Shape shape{tokens_, width_};
  const Tensor a = random(shape), b = random(shape), full = accumulated(shape);
  const Tensor ids = take(integers(DType::i64, ascending(tokens_)));
  const DropoutMask mask{.probability = 0.1F, .seed = 4};
  add("convert", {random(shape)},
      [=](Backend& backend, const Outputs& out) { backend.convert(out[0], full); });
  add("fill", {random(shape)}, [=](Backend& backend, const Outputs& out) { backend.fill(out[0], 0.25); });
  add("add", {random(shape)}, [=](Backend& backend, const Outputs& out) { backend.add(out[0], a, b); });
  add("relu", {random(shape)}, [=](Backend& backend, const Outputs& out) { backend.relu(out[0], a); });
  add("relu_backward", {random(shape)},
      [=](Backend& backend, const Outputs& out) { backend.relu_backward(out[0], a, b); });
  add("dropout", {random(shape)},
      [=](Backend& backend, const Outputs& out) { backend.dropout(out[0], a, ids, mask); });
}

void EveryOperator::add_products() {
  const Tensor x = random({tokens_, width_}), w = random({vocabulary_, width_}),
               y = random({tokens_, vocabulary_});
  add("matmul", {random({tokens_, vocabulary_})}, [=](Backend& backend, const Outputs& out) {
    backend.matmul(out[0], x, w, {.transpose_b = true, .accumulate = true, .scale = 0.5F});
  });
  add("matmul", {random({tokens_, width_})},
      [=](Backend& backend, const Outputs& out) { backend.matmul(out[0], y, w); });
  add("matmul", {accumulated({vocabulary_, width_})}, [=](Backend& backend, const Outputs& out) {
    backend.matmul(out[0], y, x, {.transpose_a = true, .accumulate = true});
  });
}

void EveryOperator::add_dequantised() {
  const Shape shape{5, 128};
  const auto codes = [&](const Shape& of) { return take(random_codes(of, ++seed_)); };
  const QuantisedMatrix bytes{.kind = Quantisation::int8,
                              .shape = shape,
                              .codes = codes(shape),
                              .scales = random(DType::f32, {5}),
                              .scale_codes = {},
                              .levels = {}};
  const QuantisedMatrix halves{.kind = Quantisation::nf4,
                               .shape = shape,
                               .codes = codes({5, 64}),
                               .scales = random(DType::f32, {3}),
                               .scale_codes = codes({5, 2}),
                               .levels = random(DType::f32, {272}),
                               .first_block = 250,
                               .row_stride = 4};
  for (const QuantisedMatrix& matrix : {bytes, halves}) {
    add("dequantise", {random(shape)},
        [=](Backend& backend, const Outputs& out) { backend.dequantise(out[0], matrix); });
  }
  for (const QuantisedMatrix& matrix : {bytes, halves}) {
    for (const std::int64_t rows : {2, 20}) {
      const Tensor a = random({rows, 128}), scratch = random(shape);
      add("matmul_quantised", {random({rows, 5})}, [=](Backend& backend, const Outputs& out) {
        backend.matmul_quantised(out[0], a, matrix, scratch);
      });
    }
  }
}

void EveryOperator::add_biases() {
  const Shape shape{tokens_, width_};
  const Tensor bias = random({width_}), dy = random(shape);
  add("add_bias", {random(shape)},
      [=](Backend& backend, const Outputs& out) { backend.add_bias(out[0], bias); });
  add("bias_backward", {accumulated({width_})},
      [=](Backend& backend, const Outputs& out) { backend.bias_backward(out[0], dy); });
}

void EveryOperator::add_low_rank_paths() {
  constexpr std::int64_t rank = 4;
  const Shape wide{tokens_, width_}, thin{tokens_, rank}, factor{rank, width_};
  const Tensor x = random(wide), a = random(factor), b = random(factor), du = random(thin), dv = random(thin),
               scratch = random(wide);
  const Tensor ids = take(integers(DType::i64, ascending(tokens_)));
  const DropoutMask mask{.probability = 0.1F, .seed = 4};
  add("low_rank_down", {random(thin), random(thin)}, [=](Backend& backend, const Outputs& out) {
    const std::vector<LowRankDown> paths{{out[0], a, mask}, {out[1], b, {}}};
    backend.low_rank_down(paths, x, ids, scratch);
  });
  add("low_rank_input_gradient", {random(wide)}, [=](Backend& backend, const Outputs& out) {
    const std::vector<LowRankInputGradient> paths{{du, a, mask}, {dv, b, {}}};
    backend.low_rank_input_gradient(out[0], paths, ids, scratch);
  });
  add("low_rank_factor_gradient", {accumulated(factor), accumulated(factor)},
      [=](Backend& backend, const Outputs& out) {
        const std::vector<LowRankFactorGradient> paths{{out[0], du, mask}, {out[1], dv, {}}};
        backend.low_rank_factor_gradient(paths, x, ids, scratch);
      });
}

void EveryOperator::add_rows() {
  const Shape shape{tokens_, width_};
  const Tensor x = random(shape), table = random({table_rows, width_});
  const Tensor tokens = index(some_tokens(tokens_));
  std::vector<std::int32_t> order = ascending(tokens_);
  std::reverse(order.begin(), order.end());
  const Tensor reversed = index(order);
  add("gather_rows", {random(shape)},
      [=](Backend& backend, const Outputs& out) { backend.gather_rows(out[0], x, tokens); });
  add("scatter_rows", {random(shape)},
      [=](Backend& backend, const Outputs& out) { backend.scatter_rows(out[0], x, reversed); });
  add("embed", {random(shape)},
      [=](Backend& backend, const Outputs& out) { backend.embed(out[0], table, tokens, first_token); });
  add("embed_backward", {accumulated({table_rows, width_})},
      [=](Backend& backend, const Outputs& out) { backend.embed_backward(out[0], x, tokens, first_token); });
}

void EveryOperator::add_norms() {
  const Shape shape{tokens_, width_};
  const Tensor x = random(shape), dout = random(shape), weight = random({width_}),
               rstd = accumulated({tokens_});
  add("rms_norm", {random(shape), accumulated({tokens_})},
      [=](Backend& backend, const Outputs& out) { backend.rms_norm(out[0], out[1], x, weight, 1e-5); });
  add("rms_norm_backward", {random(shape)}, [=](Backend& backend, const Outputs& out) {
    backend.rms_norm_backward(out[0], dout, x, weight, rstd);
  });
  add("rms_norm_weight_backward", {accumulated({width_})},
      [=](Backend& backend, const Outputs& out) { backend.rms_norm_weight_backward(out[0], dout, x, rstd); });
}

void EveryOperator::add_attention(const Forest& forest) {
  const Shape queries{tokens_, heads, head_width}, keys{tokens_, key_heads, head_width};
  const Tensor q = random(queries), k = random(keys), v = random(keys), o = random(queries),
               dout = random(queries), lse = accumulated({tokens_, heads});
  const Tensor positions = index(forest.positions()), cos_sin = accumulated({tokens_, head_width});
  add("rope", {random(queries)}, [=](Backend& backend, const Outputs& out) {
    backend.rope(out[0], positions, cos_sin, Rotation::forward);
  });
  add("attention", {random(queries), accumulated({tokens_, heads})},
      [=](Backend& backend, const Outputs& out) { backend.attention(out[0], out[1], q, k, v, forest); });
  add("attention_backward", {random(queries), random(keys), random(keys)},
      [=](Backend& backend, const Outputs& out) {
        backend.attention_backward(out[0], out[1], out[2], dout, o, lse, q, k, v, forest);
      });
  const Shape one_token{3, heads, head_width}, cache{3, 40, key_heads, head_width};
  const Tensor query = random(one_token), cached_keys = random(cache), cached_values = random(cache),
               lengths = index({1, 17, 40});
  add("cached_attention", {random(one_token)}, [=](Backend& backend, const Outputs& out) {
    backend.cached_attention(out[0], query, cached_keys, cached_values, lengths);
  });
  const Shape wide{tokens_, width_};
  const Tensor gate = random(wide), up = random(wide), dswiglu = random(wide);
  add("swiglu", {random(wide)},
      [=](Backend& backend, const Outputs& out) { backend.swiglu(out[0], gate, up); });
  add("swiglu_backward", {random(wide), random(wide)}, [=](Backend& backend, const Outputs& out) {
    backend.swiglu_backward(out[0], out[1], dswiglu, gate, up);
  });
}

void EveryOperator::add_losses() {
  const Tensor logits = accumulated({tokens_, vocabulary_}), lse = accumulated({tokens_}),
               parts = accumulated({4, tokens_}), weights = accumulated({tokens_});
  const Tensor rows = index(ascending(tokens_)), tokens = index(some_tokens(tokens_));
  add("log_sum_exp", {accumulated({tokens_})},
      [=](Backend& backend, const Outputs& out) { backend.log_sum_exp(out[0], logits); });
  add("combine_log_sum_exp", {accumulated({tokens_})},
      [=](Backend& backend, const Outputs& out) { backend.combine_log_sum_exp(out[0], parts); });
  add("target_log_probability", {accumulated({tokens_})}, [=](Backend& backend, const Outputs& out) {
    backend.target_log_probability(out[0], logits, lse, rows, tokens, first_token);
  });
  add("cross_entropy_backward", {random({tokens_, vocabulary_})}, [=](Backend& backend, const Outputs& out) {
    backend.cross_entropy_backward(out[0], logits, lse, rows, tokens, weights, first_token, 0.5);
  });
}

void EveryOperator::add_optimizer() {
  const Shape shape{50000};
  const Tensor gradient = accumulated(shape);
  add("sum_of_squares", {accumulated({1})},
      [=](Backend& backend, const Outputs& out) { backend.sum_of_squares(out[0], gradient); });
  add("adamw", {accumulated(shape), accumulated(shape), accumulated(shape, 0)},
      [=](Backend& backend, const Outputs& out) {
        backend.adamw(out[0], out[1], out[2], gradient, {.learning_rate = 0.01});
      });
}

}  // namespace chorus
