#pragma once

#include "ops/backend.h"

namespace chorus::composed {

// Backend's operator of this name by its other ones.
inline void matmul_quantised(Backend& backend, Tensor out, ConstTensor a, const QuantisedMatrix& matrix,
                             Tensor scratch) {
  backend.dequantise(scratch, matrix);
  backend.matmul(out, a, scratch, {.transpose_b = true});
}

}  // namespace chorus::composed
