#pragma once

#include <cstdint>

#include "core/safetensors.h"
#include "ops/backend.h"

namespace chorus {

// to = the part [begin, end) along `dim` of a matrix (dim 0 or 1) or vector (dim 0) of a mapped file. Where the types
// are equal and the part is contiguous, the mapped memory goes to the device as it is; else piece by piece, so that
// the host holds no more than a few MiB at a time.
void upload_slice(Backend& backend, Tensor to, const TensorView& from, int dim, std::int64_t begin,
                  std::int64_t end);

}  // namespace chorus
