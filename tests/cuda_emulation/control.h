#pragma once

// For tests of host code: makes calls of the CUDA runtime, cuBLASLt and NCCL fail, counts them, and counts what they
// have created and not destroyed.

#include <map>
#include <string>
#include <string_view>

namespace chorus::cuda_emulation {

// The nth call of `name` from now on, counted from 1, does nothing and returns `code`. Names are as in the source:
// cudaMalloc, cudaLaunchKernelEx, cublasLtMatmul, ncclAllReduce …
void fail_next(std::string_view name, unsigned nth, int code);
// Forgets what fail_next() and CUDA_EMULATION_FAIL have planned and what has not come to pass.
void fail_no_more();

// Calls made so far, or since forget_calls(), failed ones included. Functions that cannot fail are not counted.
unsigned calls(std::string_view name);
const std::map<std::string, unsigned, std::less<>>& calls();
void forget_calls();

struct LiveObjects {
  int allocations = 0;  // cudaMalloc
  int pinned = 0;       // cudaHostAlloc
  int streams = 0;
  int events = 0;
  int cublas_handles = 0;
  int descriptors = 0;  // of cuBLASLt: operations, layouts and preferences
  int communicators = 0;

  bool operator==(const LiveObjects&) const = default;
};
const LiveObjects& live_objects();
std::string describe(const LiveObjects& objects);

// Of ldmatrix so far: a phase reads 8 rows of 16 bytes, in one cycle unless rows share banks.
struct BankConflicts {
  unsigned long phases = 0, cycles = 0;
};
BankConflicts& bank_conflicts();

}  // namespace chorus::cuda_emulation
