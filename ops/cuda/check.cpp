#include "ops/cuda/check.h"

namespace chorus::cuda {

void check(cudaError_t status, const char* call, std::source_location where) {
  if (status == cudaSuccess) return;
  (void)cudaGetLastError();  // it would stick to later calls
  const std::string text = fmt::format("{}: {} ({}) [{}:{}]", call, cudaGetErrorString(status),
                                       cudaGetErrorName(status), where.file_name(), where.line());
  if (status == cudaErrorMemoryAllocation) throw MemoryError(text);
  throw Error(text);
}

void check(cublasStatus_t status, const char* call, std::source_location where) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(
      fmt::format("{}: {} [{}:{}]", call, cublasLtGetStatusString(status), where.file_name(), where.line()));
}

}  // namespace chorus::cuda
