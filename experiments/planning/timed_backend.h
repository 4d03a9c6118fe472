#pragma once

#include <string>
#include <type_traits>

#include "experiments/planning/call_times.h"

namespace chorus {

// Times every operator of another backend, and counts its work. Copies to and from the host have a time only.
class TimedBackend final : public Backend {
 public:
  TimedBackend(Backend& inner, CallTimes& times) : inner_(inner), times_(times) {}

  Buffer allocate(std::int64_t bytes) override { return inner_.allocate(bytes); }
  void upload(Tensor to, const void* from) override { timed("upload", &Backend::upload, to, from); }
  void download(void* to, ConstTensor from) override { timed("download", &Backend::download, to, from); }

  void convert(Tensor out, ConstTensor x) override { timed("convert", &Backend::convert, out, x); }
  void fill(Tensor out, double value) override { timed("fill", &Backend::fill, out, value); }
  void add(Tensor out, ConstTensor a, ConstTensor b) override { timed("add", &Backend::add, out, a, b); }
  void relu(Tensor out, ConstTensor x) override { timed("relu", &Backend::relu, out, x); }
  void relu_backward(Tensor dx, ConstTensor dout, ConstTensor x) override {
    timed("relu_backward", &Backend::relu_backward, dx, dout, x);
  }
  void dropout(Tensor out, ConstTensor x, ConstTensor token_ids, const DropoutMask& mask) override {
    timed("dropout", &Backend::dropout, out, x, token_ids, mask);
  }
  void matmul(Tensor out, ConstTensor a, ConstTensor b, MatmulOptions options = {}) override {
    timed([&] { return product_name(options); }, &Backend::matmul, out, a, b, options);
  }
  void dequantise(Tensor out, const QuantisedMatrix& matrix) override {
    timed("dequantise", &Backend::dequantise, out, matrix);
  }
  void matmul_quantised(Tensor out, ConstTensor a, const QuantisedMatrix& matrix, Tensor scratch) override {
    timed("matmul_quantised", &Backend::matmul_quantised, out, a, matrix, scratch);
  }
  void add_bias(Tensor y, ConstTensor bias) override { timed("add_bias", &Backend::add_bias, y, bias); }
  void bias_backward(Tensor dbias, ConstTensor dy) override {
    timed("bias_backward", &Backend::bias_backward, dbias, dy);
  }
  void low_rank_down(std::span<const LowRankDown> paths, ConstTensor x, ConstTensor token_ids,
                     Tensor scratch) override {
    timed([&] { return of_paths("low_rank_down", paths.size()); }, &Backend::low_rank_down, paths, x,
          token_ids, scratch);
  }
  void low_rank_input_gradient(Tensor dx, std::span<const LowRankInputGradient> paths, ConstTensor token_ids,
                               Tensor scratch) override {
    timed([&] { return of_paths("low_rank_input_gradient", paths.size()); },
          &Backend::low_rank_input_gradient, dx, paths, token_ids, scratch);
  }
  void low_rank_factor_gradient(std::span<const LowRankFactorGradient> paths, ConstTensor x,
                                ConstTensor token_ids, Tensor scratch) override {
    timed([&] { return of_paths("low_rank_factor_gradient", paths.size()); },
          &Backend::low_rank_factor_gradient, paths, x, token_ids, scratch);
  }
  void gather_rows(Tensor out, ConstTensor x, ConstTensor rows) override {
    timed("gather_rows", &Backend::gather_rows, out, x, rows);
  }
  void scatter_rows(Tensor out, ConstTensor x, ConstTensor rows) override {
    timed("scatter_rows", &Backend::scatter_rows, out, x, rows);
  }
  void embed(Tensor out, ConstTensor table, ConstTensor tokens, std::int64_t first) override {
    timed("embed", &Backend::embed, out, table, tokens, first);
  }
  void embed_backward(Tensor dtable, ConstTensor dout, ConstTensor tokens, std::int64_t first) override {
    timed("embed_backward", &Backend::embed_backward, dtable, dout, tokens, first);
  }
  void rms_norm(Tensor out, Tensor rstd, ConstTensor x, ConstTensor weight, double epsilon) override {
    timed("rms_norm", &Backend::rms_norm, out, rstd, x, weight, epsilon);
  }
  void rms_norm_backward(Tensor dx, ConstTensor dout, ConstTensor x, ConstTensor weight,
                         ConstTensor rstd) override {
    timed("rms_norm_backward", &Backend::rms_norm_backward, dx, dout, x, weight, rstd);
  }
  void rms_norm_weight_backward(Tensor dweight, ConstTensor dout, ConstTensor x, ConstTensor rstd) override {
    timed("rms_norm_weight_backward", &Backend::rms_norm_weight_backward, dweight, dout, x, rstd);
  }
  void rope(Tensor x, ConstTensor positions, ConstTensor cos_sin, Rotation rotation) override {
    timed("rope", &Backend::rope, x, positions, cos_sin, rotation);
  }
  void attention(Tensor out, Tensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                 const Forest& forest) override {
    timed("attention", &Backend::attention, out, lse, q, k, v, forest);
  }
  void attention_backward(Tensor dq, Tensor dk, Tensor dv, ConstTensor dout, ConstTensor out, ConstTensor lse,
                          ConstTensor q, ConstTensor k, ConstTensor v, const Forest& forest) override {
    timed("attention_backward", &Backend::attention_backward, dq, dk, dv, dout, out, lse, q, k, v, forest);
  }
  void cached_attention(Tensor out, ConstTensor q, ConstTensor k, ConstTensor v,
                        ConstTensor lengths) override {
    timed("cached_attention", &Backend::cached_attention, out, q, k, v, lengths);
  }
  void swiglu(Tensor out, ConstTensor gate, ConstTensor up) override {
    timed("swiglu", &Backend::swiglu, out, gate, up);
  }
  void swiglu_backward(Tensor dgate, Tensor dup, ConstTensor dout, ConstTensor gate,
                       ConstTensor up) override {
    timed("swiglu_backward", &Backend::swiglu_backward, dgate, dup, dout, gate, up);
  }
  void log_sum_exp(Tensor lse, ConstTensor logits) override {
    timed("log_sum_exp", &Backend::log_sum_exp, lse, logits);
  }
  void combine_log_sum_exp(Tensor lse, ConstTensor parts) override {
    timed("combine_log_sum_exp", &Backend::combine_log_sum_exp, lse, parts);
  }
  void target_log_probability(Tensor out, ConstTensor logits, ConstTensor lse, ConstTensor rows,
                              ConstTensor tokens, std::int64_t first) override {
    timed("target_log_probability", &Backend::target_log_probability, out, logits, lse, rows, tokens, first);
  }
  void cross_entropy_backward(Tensor dlogits, ConstTensor logits, ConstTensor lse, ConstTensor rows,
                              ConstTensor tokens, ConstTensor weights, std::int64_t first,
                              double scale) override {
    timed("cross_entropy_backward", &Backend::cross_entropy_backward, dlogits, logits, lse, rows, tokens,
          weights, first, scale);
  }
  void sum_of_squares(Tensor out, ConstTensor x) override {
    timed("sum_of_squares", &Backend::sum_of_squares, out, x);
  }
  void adamw(Tensor value, Tensor m, Tensor v, ConstTensor gradient, const AdamWOptions& options) override {
    timed("adamw", &Backend::adamw, value, m, v, gradient, options);
  }

 private:
  struct Counter final : CountedBackend {
    void count(const OperatorWork& counted) override { work = counted; }
    OperatorWork work;
  };

  // As BLAS has it: N for a factor as it is stored, T for one that is transposed.
  static std::string product_name(const MatmulOptions& options) {
    return fmt::format("matmul {}{}{}", options.transpose_a ? 'T' : 'N', options.transpose_b ? 'T' : 'N',
                       options.accumulate ? " +=" : "");
  }
  static std::string of_paths(const char* name, std::size_t paths) {
    return fmt::format("{} x {}", name, paths);
  }

  // `name` is text, or makes it, which only a timed call is worth.
  template <typename Name, typename... Parameters>
  void timed(const Name& name, void (Backend::*call)(Parameters...),
             const std::type_identity_t<Parameters>&... arguments) {
    if (!times_.running()) return (inner_.*call)(arguments...);
    Counter counter;
    (counter.*call)(arguments...);
    const auto done = [&] { (inner_.*call)(arguments...); };
    if constexpr (std::is_invocable_v<Name>) {
      times_.timed(name(), counter.work, done);
    } else {
      times_.timed(name, counter.work, done);
    }
  }

  Backend& inner_;
  CallTimes& times_;
};

}  // namespace chorus
