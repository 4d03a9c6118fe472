#pragma once

#include <cstdint>
#include <optional>

#include "core/formats/safetensors.h"
#include "ops/backend.h"

namespace chorus {

// The part [begin, end) along `dim` of a matrix (dim 0 or 1) or vector (dim 0), where its bytes are what is computed
// with: elements of this type that lie one after another.
std::optional<TensorView> as_stored(const TensorView& tensor, DType dtype, int dim, std::int64_t begin,
                                    std::int64_t end);

// to = the part [begin, end) along `dim` of a tensor. What lies as_stored() goes to the device as it is, the rest is
// converted or cut piece by piece, so that the host holds no more than a few MiB at a time: pages of a file are given
// back when they have been read.
void upload_slice(Backend& backend, Tensor to, const TensorView& from, int dim, std::int64_t begin,
                  std::int64_t end);

}  // namespace chorus
