#pragma once

#include <source_location>

#include <cublasLt.h>
#include <cuda_runtime.h>

#include "ops/base/error.h"

namespace chorus::cuda {

// Throw Error with the name of the call and the library's own words unless `status` is success. A GPU without
// room is a MemoryError.
void check(cudaError_t status, const char* call,
           std::source_location where = std::source_location::current());
void check(cublasStatus_t status, const char* call,
           std::source_location where = std::source_location::current());

}  // namespace chorus::cuda
