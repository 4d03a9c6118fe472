#pragma once

#include <cuda_runtime.h>

#include "ops/backend.h"

namespace chorus::cuda {

// Whether multiply_thin() takes a product: what a low-rank factor adds to a wide bf16 matrix, y += s u Bᵀ and
// dx += du A. Alone on an H200 cuBLASLt needs 1.5 times as long, and it rounds the product to bf16 before adding it.
bool is_thin(ConstTensor out, ConstTensor a, ConstTensor b, const MatmulOptions& options);

// out += scale · a op(b), rounded once.    out bf16 [M, N]  a bf16 [M, K]  b bf16 [K, N] or, transposed, [N, K]
void multiply_thin(Tensor out, ConstTensor a, ConstTensor b, const MatmulOptions& options,
                   cudaStream_t stream);

}  // namespace chorus::cuda
