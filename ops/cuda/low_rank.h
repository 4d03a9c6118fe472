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

// What backward does with the gradient dy [N, O] of a layer's outputs and the path's other factor b [O, R]. Each returns
// false, and nothing is done, where the kernels do not fit, or where cuBLASLt is faster: it reads more of a wide dy at once.
// du = s dy b                       dy, b, du bf16
bool low_rank_output_gradient(Tensor du, ConstTensor dy, ConstTensor b, float scale, cudaStream_t stream);
// db += s dyᵀ u                     dy, u bf16, db f32
bool low_rank_output_factor_gradient(Tensor db, ConstTensor dy, ConstTensor u, float scale,
                                     cudaStream_t stream);

}  // namespace chorus::cuda
