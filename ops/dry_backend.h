#pragma once

#include <initializer_list>

#include "ops/backend.h"

namespace chorus {

// Computes nothing and owns no memory. The code that will run is run once on it to see, in measuring arenas, how much
// memory it will take; a derived class also sees what every operator reads and writes. Its tensors share addresses, so
// CheckedBackend cannot wrap it.
class DryBackend : public Backend {
 public:
  // A buffer of that size without memory: data() is null.
  Buffer allocate(std::int64_t bytes) override { return {nullptr, bytes, {}}; }
  void upload(Tensor, const void*) override {}
  // Writes zeros.
  void download(void* to, ConstTensor from) override;

  void convert(Tensor out, ConstTensor x) override { traffic({out, x}); }
  void fill(Tensor out, double) override { traffic({out}); }
  void add(Tensor out, ConstTensor a, ConstTensor b) override { traffic({out, a, b}); }
  void relu(Tensor out, ConstTensor x) override { traffic({out, x}); }
  void relu_backward(Tensor dx, ConstTensor dout, ConstTensor x) override { traffic({dx, dout, x}); }
  void dropout(Tensor out, ConstTensor x, ConstTensor, const DropoutMask&) override { traffic({out, x}); }
  void matmul(Tensor out, ConstTensor a, ConstTensor b, MatmulOptions options = {}) override {
    if (options.accumulate) return traffic({out, out, a, b});
    traffic({out, a, b});
  }
  void dequantise(Tensor out, const QuantisedMatrix& matrix) override {
    traffic({out, matrix.codes, matrix.scale_codes});
  }
  void matmul_quantised(Tensor out, ConstTensor a, const QuantisedMatrix& matrix, Tensor scratch) override {
    traffic({out, a, matrix.codes, matrix.scale_codes, scratch, scratch});
  }
  void add_bias(Tensor y, ConstTensor) override { traffic({y, y}); }
  void bias_backward(Tensor, ConstTensor dy) override { traffic({dy}); }
  void low_rank_down(std::span<const LowRankDown>, ConstTensor x, ConstTensor, Tensor) override {
    traffic({x});
  }
  void low_rank_input_gradient(Tensor dx, std::span<const LowRankInputGradient>, ConstTensor,
                               Tensor) override {
    traffic({dx, dx});
  }
  void low_rank_factor_gradient(std::span<const LowRankFactorGradient>, ConstTensor x, ConstTensor,
                                Tensor) override {
    traffic({x});
  }
  void gather_rows(Tensor out, ConstTensor, ConstTensor) override { traffic({out, out}); }
  void scatter_rows(Tensor, ConstTensor x, ConstTensor) override { traffic({x, x}); }
  void embed(Tensor out, ConstTensor, ConstTensor, std::int64_t) override { traffic({out, out}); }
  void embed_backward(Tensor, ConstTensor dout, ConstTensor, std::int64_t) override {
    traffic({dout, dout, dout});
  }
  void rms_norm(Tensor out, Tensor rstd, ConstTensor x, ConstTensor, double) override {
    traffic({out, rstd, x});
  }
  void rms_norm_backward(Tensor dx, ConstTensor dout, ConstTensor x, ConstTensor, ConstTensor rstd) override {
    traffic({dx, dx, dout, x, rstd});
  }
  void rms_norm_weight_backward(Tensor, ConstTensor dout, ConstTensor x, ConstTensor rstd) override {
    traffic({dout, x, rstd});
  }
  void rope(Tensor x, ConstTensor, ConstTensor, Rotation) override { traffic({x, x}); }
  void attention(Tensor out, Tensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                 const Forest&) override {
    traffic({out, lse, q, k, v});
  }
  void attention_backward(Tensor dq, Tensor dk, Tensor dv, ConstTensor dout, ConstTensor out, ConstTensor lse,
                          ConstTensor q, ConstTensor k, ConstTensor v, const Forest&) override {
    traffic({dq, dk, dv, dout, out, lse, q, k, v});
  }
  void cached_attention(Tensor out, ConstTensor q, ConstTensor k, ConstTensor v, ConstTensor) override {
    traffic({out, q, k, v});
  }
  void swiglu(Tensor out, ConstTensor gate, ConstTensor up) override { traffic({out, gate, up}); }
  void swiglu_backward(Tensor dgate, Tensor dup, ConstTensor dout, ConstTensor gate,
                       ConstTensor up) override {
    traffic({dgate, dup, dout, gate, up});
  }
  void log_sum_exp(Tensor, ConstTensor logits) override { traffic({logits}); }
  void combine_log_sum_exp(Tensor, ConstTensor parts) override { traffic({parts}); }
  void target_log_probability(Tensor out, ConstTensor, ConstTensor, ConstTensor, ConstTensor,
                              std::int64_t) override {
    traffic({out});
  }
  void cross_entropy_backward(Tensor dlogits, ConstTensor logits, ConstTensor, ConstTensor, ConstTensor,
                              ConstTensor, std::int64_t, double) override {
    traffic({dlogits, logits});
  }
  void sum_of_squares(Tensor, ConstTensor x) override { traffic({x}); }
  void adamw(Tensor value, Tensor m, Tensor v, ConstTensor gradient, const AdamWOptions&) override {
    traffic({value, value, m, m, v, v, gradient});
  }

 private:
  // Called once by every operator, with each tensor as often as the operator reads or writes all of it; of a table, as
  // many rows as it touches; none that is small beside the others.
  virtual void traffic(std::initializer_list<ConstTensor>) {}
};

}  // namespace chorus
