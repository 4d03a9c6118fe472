#include "ops/cpu/cpu_backend.h"
#include "ops/low_rank_composed.h"

namespace chorus {

void CpuBackend::low_rank_down(std::span<const LowRankDown> paths, ConstTensor x, ConstTensor token_ids,
                               Tensor scratch) {
  composed::low_rank_down(*this, paths, x, token_ids, scratch);
}

void CpuBackend::low_rank_input_gradient(Tensor dx, std::span<const LowRankInputGradient> paths,
                                         ConstTensor token_ids, Tensor scratch) {
  composed::low_rank_input_gradient(*this, dx, paths, token_ids, scratch);
}

void CpuBackend::low_rank_factor_gradient(std::span<const LowRankFactorGradient> paths, ConstTensor x,
                                          ConstTensor token_ids, Tensor scratch) {
  composed::low_rank_factor_gradient(*this, paths, x, token_ids, scratch);
}

}  // namespace chorus
