#pragma once

#include <span>

#include <cuda_runtime.h>

#include "ops/low_rank.h"

namespace chorus::cuda {

// What a group of low-rank paths does with the bf16 matrix that its layers read, in one pass over it. Each returns false,
// and nothing is done, where the kernels do not fit: other types, more than three paths, ranks that are odd or above 32,
// rows that are not whole 16-byte words, masks that begin within a draw or are not of one seed, step and slice.
// Sums are in f32 and rounded once; what masks keep is scaled after the sum.   token_ids i64 [N]: read where a mask drops

// u = drop(x) aᵀ                    x, a, u bf16
bool low_rank_down(std::span<const LowRankDown> paths, ConstTensor x, ConstTensor token_ids,
                   cudaStream_t stream);
// dx += Σ drop(du a)                dx, du, a bf16
bool low_rank_input_gradient(Tensor dx, std::span<const LowRankInputGradient> paths, ConstTensor token_ids,
                             cudaStream_t stream);
// da += duᵀ drop(x)                 x, du bf16, da f32
bool low_rank_factor_gradient(std::span<const LowRankFactorGradient> paths, ConstTensor x,
                              ConstTensor token_ids, cudaStream_t stream);

}  // namespace chorus::cuda
