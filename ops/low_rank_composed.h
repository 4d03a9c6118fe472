#pragma once

#include <span>

#include "ops/backend.h"

namespace chorus::composed {

// Backend's operators for low-rank paths by its other ones, path by path.
void low_rank_down(Backend& backend, std::span<const LowRankDown> paths, ConstTensor x, ConstTensor token_ids,
                   Tensor scratch);
void low_rank_input_gradient(Backend& backend, Tensor dx, std::span<const LowRankInputGradient> paths,
                             ConstTensor token_ids, Tensor scratch);
void low_rank_factor_gradient(Backend& backend, std::span<const LowRankFactorGradient> paths, ConstTensor x,
                              ConstTensor token_ids, Tensor scratch);

}  // namespace chorus::composed
