#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "ops/backend.h"
#include "ops/cpu/bf16_products.h"
#include "ops/cpu/scratch.h"
#include "ops/cpu/thread_team.h"

namespace chorus {

class AttentionLayout;  // the segments of a forest, grouped by tree
class MatmulPlans;      // oneDNN's prepared products, by shape

// Computes in host memory, in f32 or bf16. An object is used by one thread at a time and lets `threads`
// threads work on each call; several objects may live in several threads. Results do not depend on the number
// of threads.
class CpuBackend final : public Backend {
 public:
  // `bf16_products`: none: fastest_bf16_products(); tests try the others.
  explicit CpuBackend(int threads = 1, std::optional<Bf16Products> bf16_products = {});
  ~CpuBackend() override;

  int threads() const { return threads_.size(); }

  Buffer allocate(std::int64_t bytes) override;
  void upload(Tensor to, const void* from) override;
  void download(void* to, ConstTensor from) override;

  void convert(Tensor out, ConstTensor x) override;
  void fill(Tensor out, double value) override;
  void add(Tensor out, ConstTensor a, ConstTensor b) override;
  void relu(Tensor out, ConstTensor x) override;
  void relu_backward(Tensor dx, ConstTensor dout, ConstTensor x) override;
  void dropout(Tensor out, ConstTensor x, ConstTensor token_ids, const DropoutMask& mask) override;

  void matmul(Tensor out, ConstTensor a, ConstTensor b, MatmulOptions options = {}) override;

  void dequantise(Tensor out, const QuantisedMatrix& matrix) override;
  void matmul_quantised(Tensor out, ConstTensor a, const QuantisedMatrix& matrix, Tensor scratch) override;
  void add_bias(Tensor y, ConstTensor bias) override;
  void bias_backward(Tensor dbias, ConstTensor dy) override;

  void low_rank_down(std::span<const LowRankDown> paths, ConstTensor x, ConstTensor token_ids,
                     Tensor scratch) override;
  void low_rank_input_gradient(Tensor dx, std::span<const LowRankInputGradient> paths, ConstTensor token_ids,
                               Tensor scratch) override;
  void low_rank_factor_gradient(std::span<const LowRankFactorGradient> paths, ConstTensor x,
                                ConstTensor token_ids, Tensor scratch) override;

  void gather_rows(Tensor out, ConstTensor x, ConstTensor rows) override;
  void scatter_rows(Tensor out, ConstTensor x, ConstTensor rows) override;
  void embed(Tensor out, ConstTensor table, ConstTensor tokens, std::int64_t first) override;
  void embed_backward(Tensor dtable, ConstTensor dout, ConstTensor tokens, std::int64_t first) override;

  void rms_norm(Tensor out, Tensor rstd, ConstTensor x, ConstTensor weight, double epsilon) override;
  void rms_norm_backward(Tensor dx, ConstTensor dout, ConstTensor x, ConstTensor weight,
                         ConstTensor rstd) override;
  void rms_norm_weight_backward(Tensor dweight, ConstTensor dout, ConstTensor x, ConstTensor rstd) override;

  void rope(Tensor x, ConstTensor positions, ConstTensor cos_sin, Rotation rotation) override;

  void attention(Tensor out, Tensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                 const Forest& forest) override;
  void attention_backward(Tensor dq, Tensor dk, Tensor dv, ConstTensor dout, ConstTensor out, ConstTensor lse,
                          ConstTensor q, ConstTensor k, ConstTensor v, const Forest& forest) override;
  void cached_attention(Tensor out, ConstTensor q, ConstTensor k, ConstTensor v,
                        ConstTensor lengths) override;

  void swiglu(Tensor out, ConstTensor gate, ConstTensor up) override;
  void swiglu_backward(Tensor dgate, Tensor dup, ConstTensor dout, ConstTensor gate, ConstTensor up) override;

  void log_sum_exp(Tensor lse, ConstTensor logits) override;
  void combine_log_sum_exp(Tensor lse, ConstTensor parts) override;
  void target_log_probability(Tensor out, ConstTensor logits, ConstTensor lse, ConstTensor rows,
                              ConstTensor tokens, std::int64_t first) override;
  void cross_entropy_backward(Tensor dlogits, ConstTensor logits, ConstTensor lse, ConstTensor rows,
                              ConstTensor tokens, ConstTensor weights, std::int64_t first,
                              double scale) override;

  void sum_of_squares(Tensor out, ConstTensor x) override;
  void adamw(Tensor value, Tensor m, Tensor v, ConstTensor gradient, const AdamWOptions& options) override;

 private:
  // Before a parallel loop, whose bodies must not throw.
  void reserve_scratch(std::int64_t bytes);

  ThreadTeam threads_;
  std::vector<Scratch> scratch_;  // one per thread
  std::unique_ptr<MatmulPlans> matmul_plans_;
  std::unique_ptr<AttentionLayout> attention_layout_;
};

}  // namespace chorus
