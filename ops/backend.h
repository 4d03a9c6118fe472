#pragma once

#include <cstdint>
#include <span>

#include "ops/base/forest.h"
#include "ops/base/random.h"
#include "ops/buffer.h"
#include "ops/low_rank.h"
#include "ops/quantised.h"
#include "ops/tensor.h"

namespace chorus {

struct MatmulOptions {
  bool transpose_a = false;  // a is stored as [K, M]
  bool transpose_b = false;  // b is stored as [N, K]
  bool accumulate = false;   // out += instead of out =
  float scale = 1;           // held in f32, never rounded to the element type
};

enum class Rotation { forward, backward };

struct AdamWOptions {
  double learning_rate = 0;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;    // decoupled
  std::int64_t step = 1;      // t of the bias corrections, from 1
  double gradient_scale = 1;  // multiplies the gradient first: clipping
};

// Everything the engine asks of a device. Calls take effect in program order, as if each one waited; only
// download() really waits. Outputs come first, then inputs, then scalars.
//
// Shapes (legend in docs/architecture.md): N tokens of the micro-batch, D width, Hq Hk query/key heads, K head
// width, F MLP width, V vocabulary, M rows with targets, T targets, I O features in/out. Matrices are dense and
// row-major. "float" means f32, bf16 (f64 in the tests' reference); all float tensors of a call have one element
// type, save those marked `acc`, which have accumulator() of it. Sums are accumulated in f32 or better.
// CheckedBackend holds these contracts as code.
class Backend {
 public:
  virtual ~Backend() = default;

  // --- memory -------------------------------------------------------------------------------------------------
  // Aligned to Arena::alignment. Throws MemoryError.
  virtual Buffer allocate(std::int64_t bytes) = 0;
  // `from`/`to` is host memory that holds the tensor's elements in its own type.
  virtual void upload(Tensor to, const void* from) = 0;
  virtual void download(void* to, ConstTensor from) = 0;

  // --- element-wise -------------------------------------------------------------------------------------------
  // out = x, rounded to out's type. Any float or equal types, equal shapes.
  virtual void convert(Tensor out, ConstTensor x) = 0;
  virtual void fill(Tensor out, double value) = 0;
  // out = a + b. out may be a or b.
  virtual void add(Tensor out, ConstTensor a, ConstTensor b) = 0;
  // out = x, or 0 where x < 0 (Nair & Hinton 2010). out may be x.
  virtual void relu(Tensor out, ConstTensor x) = 0;
  // dx = dout, or 0 where x <= 0. x may be what relu() made of it, dx may be dout.
  virtual void relu_backward(Tensor dx, ConstTensor dout, ConstTensor x) = 0;
  // out = x · m / (1 - p), m drawn by `mask`, p its probability as drawn. Its own backward. out may be x.  x, out [N, I]  token_ids i64 [N]
  virtual void dropout(Tensor out, ConstTensor x, ConstTensor token_ids, const DropoutMask& mask) = 0;

  // --- matrix product -----------------------------------------------------------------------------------------
  // out = scale · op(a) op(b) (+ out if accumulate)        a [M, K]  b [K, N]  out [M, N] of a's type or acc
  // Rounded once, save that a library may round a bf16 product before adding it; never what a low-rank factor adds:
  // a as stored, an even K <= 32, rows of out that are whole 16-byte words.
  virtual void matmul(Tensor out, ConstTensor a, ConstTensor b, MatmulOptions options = {}) = 0;

  // --- a frozen matrix in a few bits an element (ops/quantised.h) --------------------------------------------
  // out = the matrix, each element rounded once.             out [O, I]
  virtual void dequantise(Tensor out, const QuantisedMatrix& matrix) = 0;
  // out = a Wᵀ of that matrix W, as dequantise() has it in a's type or not rounded.
  //                           a [M, I]  out [M, O]  scratch [O, I] of a's type, which a call may write over
  virtual void matmul_quantised(Tensor out, ConstTensor a, const QuantisedMatrix& matrix, Tensor scratch) = 0;

  // --- bias ---------------------------------------------------------------------------------------------------
  // y += bias in every row.                                 y [N, O]  bias [O]
  virtual void add_bias(Tensor y, ConstTensor bias) = 0;
  // dbias += sum over n of dy.                              dbias acc [O]  dy [N, O]
  virtual void bias_backward(Tensor dbias, ConstTensor dy) = 0;

  // --- low-rank paths beside layers that read the same x (ops/low_rank.h) -------------------------------------
  // Where a mask drops anything: token_ids i64 [N], and scratch [N, I] of x's type, which a call may write over.
  // dx may be rounded after each path, and what is dropped before it is multiplied.
  virtual void low_rank_down(std::span<const LowRankDown> paths, ConstTensor x, ConstTensor token_ids,
                             Tensor scratch) = 0;
  virtual void low_rank_input_gradient(Tensor dx, std::span<const LowRankInputGradient> paths,
                                       ConstTensor token_ids, Tensor scratch) = 0;
  virtual void low_rank_factor_gradient(std::span<const LowRankFactorGradient> paths, ConstTensor x,
                                        ConstTensor token_ids, Tensor scratch) = 0;

  // --- rows ---------------------------------------------------------------------------------------------------
  // out[i] = x[rows[i]]                                     x [N, D]  out [M, D]  rows i32 [M]
  virtual void gather_rows(Tensor out, ConstTensor x, ConstTensor rows) = 0;
  // out[rows[i]] = x[i]; other rows stay. `rows` are distinct.  x [M, D]  out [N, D]  rows i32 [M]
  virtual void scatter_rows(Tensor out, ConstTensor x, ConstTensor rows) = 0;
  // out[n] = table[tokens[n] - first] or 0 where the table's shard does not hold it: tokens below 0 are in none.
  //                                                         table [V/P, D]  tokens i32 [N]  out [N, D]
  virtual void embed(Tensor out, ConstTensor table, ConstTensor tokens, std::int64_t first) = 0;
  // dtable[tokens[n] - first] += dout[n], in order of n.     dtable acc [V/P, D]  dout [N, D]
  virtual void embed_backward(Tensor dtable, ConstTensor dout, ConstTensor tokens, std::int64_t first) = 0;

  // --- RMSNorm (Zhang & Sennrich 2019, eq. 4) -----------------------------------------------------------------
  // out = x · rstd · weight,  rstd = 1 / sqrt(mean(x²) + epsilon)     x, out [N, D]  weight [D]  rstd acc [N]
  virtual void rms_norm(Tensor out, Tensor rstd, ConstTensor x, ConstTensor weight, double epsilon) = 0;
  // dx += rstd · (g - x · rstd² · mean(g · x)),  g = dout · weight
  virtual void rms_norm_backward(Tensor dx, ConstTensor dout, ConstTensor x, ConstTensor weight,
                                 ConstTensor rstd) = 0;
  // dweight += sum over n of dout · x · rstd                dweight acc [D]
  virtual void rms_norm_weight_backward(Tensor dweight, ConstTensor dout, ConstTensor x,
                                        ConstTensor rstd) = 0;

  // --- rotary position (Su et al. 2021, eq. 34; halves rotated as in Hugging Face's LLaMA) ---------------------
  // In place: (x[j], x[j+K/2]) is turned by the angle of (position, j).  x [N, H, K]  positions i32 [N]
  // cos_sin acc [positions, K]: cosines of j = 0 .. K/2-1, then sines. Backward turns the other way.
  virtual void rope(Tensor x, ConstTensor positions, ConstTensor cos_sin, Rotation rotation) = 0;

  // --- attention over the forest (Vaswani et al. 2017, eq. 1; Dao 2023 for lse and the backward pass) ----------
  // out = softmax(q kᵀ / √K) v over what each token sees; query head h reads key head h · Hk / Hq.
  //                                                         q, out [N, Hq, K]  k, v [N, Hk, K]  lse acc [N, Hq]
  virtual void attention(Tensor out, Tensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                         const Forest& forest) = 0;
  // Writes dq, dk, dv.
  virtual void attention_backward(Tensor dq, Tensor dk, Tensor dv, ConstTensor dout, ConstTensor out,
                                  ConstTensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                                  const Forest& forest) = 0;
  // One new token of each of B sequences against its cache.  q, out [B, Hq, K]  k, v [B, S, Hk, K]
  // lengths i32 [B]: sequence b sees cache rows 0 .. lengths[b]-1, 0 < lengths[b] <= S
  virtual void cached_attention(Tensor out, ConstTensor q, ConstTensor k, ConstTensor v,
                                ConstTensor lengths) = 0;

  // --- SwiGLU (Shazeer 2020, eq. 5) ---------------------------------------------------------------------------
  // out = gate · sigmoid(gate) · up                          all [N, F]
  virtual void swiglu(Tensor out, ConstTensor gate, ConstTensor up) = 0;
  // dgate and dup may be gate and up.
  virtual void swiglu_backward(Tensor dgate, Tensor dup, ConstTensor dout, ConstTensor gate,
                               ConstTensor up) = 0;

  // --- cross entropy over a sharded vocabulary ----------------------------------------------------------------
  // lse[m] = log sum over v of exp(logits[m, v])             logits acc [M, V/P]  lse acc [M]
  virtual void log_sum_exp(Tensor lse, ConstTensor logits) = 0;
  // lse[m] = log sum over p of exp(parts[p, m])              parts acc [P, M]  lse acc [M]
  virtual void combine_log_sum_exp(Tensor lse, ConstTensor parts) = 0;
  // out[t] = logits[rows[t], tokens[t] - first] - lse[rows[t]], or 0 where the shard does not hold the token.
  //                                                         rows, tokens i32 [T]  out acc [T]
  virtual void target_log_probability(Tensor out, ConstTensor logits, ConstTensor lse, ConstTensor rows,
                                      ConstTensor tokens, std::int64_t first) = 0;
  // Gradient of  - scale · sum over t of weights[t] · log p(tokens[t] | row rows[t]),  rows ascending:
  // dlogits[m, v] = scale · (c[m] · exp(logits[m, v] - lse[m]) - sum of weights[t] with rows[t] = m and
  // tokens[t] = first + v),  c[m] = sum of weights[t] with rows[t] = m     dlogits float [M, V/P]  weights acc [T]
  virtual void cross_entropy_backward(Tensor dlogits, ConstTensor logits, ConstTensor lse, ConstTensor rows,
                                      ConstTensor tokens, ConstTensor weights, std::int64_t first,
                                      double scale) = 0;

  // --- optimizer ----------------------------------------------------------------------------------------------
  // out[0] = sum of x²                                       x acc [n]  out acc [1]
  virtual void sum_of_squares(Tensor out, ConstTensor x) = 0;
  // AdamW (Loshchilov & Hutter 2019, algorithm 2), all acc [n]. g = gradient_scale · gradient:
  //   m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g²
  //   value -= lr · (weight_decay · value + (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon))
  virtual void adamw(Tensor value, Tensor m, Tensor v, ConstTensor gradient, const AdamWOptions& options) = 0;
};

}  // namespace chorus
