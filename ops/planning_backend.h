#pragma once

#include "ops/backend.h"

namespace chorus {

// Computes nothing and owns no memory. The code that will run is run once on it to see, in measuring arenas,
// how much memory it will take. Its tensors share addresses, so CheckedBackend cannot wrap it.
class PlanningBackend final : public Backend {
 public:
  // A buffer of that size without memory: data() is null.
  Buffer allocate(std::int64_t bytes) override { return {nullptr, bytes, {}}; }
  void upload(Tensor, const void*) override {}
  // Writes zeros.
  void download(void* to, ConstTensor from) override;

  void convert(Tensor, ConstTensor) override {}
  void fill(Tensor, double) override {}
  void add(Tensor, ConstTensor, ConstTensor) override {}
  void relu(Tensor, ConstTensor) override {}
  void relu_backward(Tensor, ConstTensor, ConstTensor) override {}
  void dropout(Tensor, ConstTensor, ConstTensor, const DropoutMask&) override {}
  void matmul(Tensor, ConstTensor, ConstTensor, MatmulOptions = {}) override {}
  void gather_rows(Tensor, ConstTensor, ConstTensor) override {}
  void scatter_rows(Tensor, ConstTensor, ConstTensor) override {}
  void embed(Tensor, ConstTensor, ConstTensor, std::int64_t) override {}
  void embed_backward(Tensor, ConstTensor, ConstTensor, std::int64_t) override {}
  void rms_norm(Tensor, Tensor, ConstTensor, ConstTensor, double) override {}
  void rms_norm_backward(Tensor, ConstTensor, ConstTensor, ConstTensor, ConstTensor) override {}
  void rms_norm_weight_backward(Tensor, ConstTensor, ConstTensor, ConstTensor) override {}
  void rope(Tensor, ConstTensor, ConstTensor, Rotation) override {}
  void attention(Tensor, Tensor, ConstTensor, ConstTensor, ConstTensor, const Forest&) override {}
  void attention_backward(Tensor, Tensor, Tensor, ConstTensor, ConstTensor, ConstTensor, ConstTensor,
                          ConstTensor, ConstTensor, const Forest&) override {}
  void cached_attention(Tensor, ConstTensor, ConstTensor, ConstTensor, ConstTensor) override {}
  void swiglu(Tensor, ConstTensor, ConstTensor) override {}
  void swiglu_backward(Tensor, Tensor, ConstTensor, ConstTensor, ConstTensor) override {}
  void log_sum_exp(Tensor, ConstTensor) override {}
  void combine_log_sum_exp(Tensor, ConstTensor) override {}
  void target_log_probability(Tensor, ConstTensor, ConstTensor, ConstTensor, ConstTensor,
                              std::int64_t) override {}
  void cross_entropy_backward(Tensor, ConstTensor, ConstTensor, ConstTensor, ConstTensor, ConstTensor,
                              std::int64_t, double) override {}
  void sum_of_squares(Tensor, ConstTensor) override {}
  void adamw(Tensor, Tensor, Tensor, ConstTensor, const AdamWOptions&) override {}
};

}  // namespace chorus
