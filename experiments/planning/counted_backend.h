#pragma once

#include "ops/dry_backend.h"

namespace chorus {

// What one call of an operator has to do at least.
struct OperatorWork {
  double bytes = 0;  // read and written, each once per reading or writing
  double flops = 0;  // where that can take longer: of products and attention
  bool attention = false;
  DType dtype = DType::f32;  // of what is multiplied
  Shape shape;               // of the largest tensor; of a matrix product [M, K, N]
};

// Counts the work of every operator by the tensors that DryBackend names.
class CountedBackend : public DryBackend {
 public:
  void matmul(Tensor out, ConstTensor a, ConstTensor b, MatmulOptions options = {}) override;
  void matmul_quantised(Tensor out, ConstTensor a, const QuantisedMatrix& matrix, Tensor scratch) override;
  void low_rank_down(std::span<const LowRankDown> paths, ConstTensor x, ConstTensor token_ids,
                     Tensor scratch) override;
  void low_rank_input_gradient(Tensor dx, std::span<const LowRankInputGradient> paths, ConstTensor token_ids,
                               Tensor scratch) override;
  void low_rank_factor_gradient(std::span<const LowRankFactorGradient> paths, ConstTensor x,
                                ConstTensor token_ids, Tensor scratch) override;
  void attention(Tensor out, Tensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                 const Forest& forest) override;
  void attention_backward(Tensor dq, Tensor dk, Tensor dv, ConstTensor dout, ConstTensor out, ConstTensor lse,
                          ConstTensor q, ConstTensor k, ConstTensor v, const Forest& forest) override;

 private:
  // Called once by every operator that reads or writes anything.
  virtual void count(const OperatorWork& work) = 0;

  void traffic(std::initializer_list<ConstTensor> tensors) final;

  OperatorWork arithmetic_;  // of the operator whose traffic is told next
};

}  // namespace chorus
