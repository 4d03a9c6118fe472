#include <gmock/gmock.h>

#include "ops/cuda/cuda_backend.h"
#include "ops/cuda/cuda_stream_clock.h"
#include "tests/cuda_emulation/control.h"
#include "tests/support/tensors.h"

// What no real GPU does on request: each call of CUDA fails once.

namespace chorus {
namespace {

using cuda_emulation::LiveObjects;

// From the first call to the last, with all kinds of calls between.
void work() {
  CudaBackend backend;
  const DeviceTensor x(backend, random_tensor(DType::bf16, {40, 24}, 1)), y(backend, DType::bf16, {40, 24}),
      dweight(backend, DType::f32, {24}), rstd(backend, DType::f32, {40}),
      weight(backend, random_tensor(DType::bf16, {24}, 2)), square(backend, DType::bf16, {40, 40});
  backend.convert(y, x);
  backend.rms_norm(y, rstd, x, weight, 1e-5);
  backend.rms_norm_weight_backward(dweight, y, x, rstd);
  backend.matmul(square, x, y, {.transpose_b = true});
  // Heads of 128 need shared memory that must be asked for.
  const DeviceTensor q(backend, random_tensor(DType::bf16, {3, 2, 128}, 3)), lse(backend, DType::f32, {3, 2}),
      out(backend, DType::bf16, {3, 2, 128});
  backend.attention(out, lse, q, q, q, single_sequence(3));
  square.download();
  CudaStreamClock clock(backend.stream());
  clock.mark();
  backend.add(x, x, y);
  clock.mark();
  EXPECT_EQ(clock.intervals().size(), 1U);
}

// Calls whose failure nobody can act upon: they give back.
bool gives_back(const std::string& name) {
  return name.find("Free") != std::string::npos || name.find("Destroy") != std::string::npos;
}

TEST(CudaFailuresTest, EveryFailureIsReportedAndLeaksNothing) {
  const LiveObjects before = cuda_emulation::live_objects();
  cuda_emulation::forget_calls();
  work();
  EXPECT_EQ(cuda_emulation::live_objects(), before) << describe(cuda_emulation::live_objects());
  const auto calls = cuda_emulation::calls();
  EXPECT_GT(calls.size(), 20U);
  for (const auto& [name, count] : calls) {
    if (gives_back(name)) continue;
    for (unsigned nth = 1; nth <= count; ++nth) {
      // cudaErrorLaunchFailure, CUBLAS_STATUS_INTERNAL_ERROR
      cuda_emulation::fail_next(name, nth, name.starts_with("cuda") ? 719 : 14);
      std::string message = "nothing was thrown";
      try {
        work();
      } catch (const Error& error) {
        message = error.what();
      }
      cuda_emulation::fail_no_more();
      // The very last calls are a destructor's.
      const bool last = name == "cudaStreamSynchronize" && nth == count;
      const char* const expected = last                           ? "nothing was thrown"
                                   : name == "cudaGetDeviceCount" ? "no usable GPU"
                                                                  : name.c_str();
      EXPECT_THAT(message, ::testing::HasSubstr(expected)) << "call " << nth << " of " << name;
      EXPECT_EQ(cuda_emulation::live_objects(), before)
          << "call " << nth << " of " << name << ": " << describe(cuda_emulation::live_objects());
    }
  }
}

}  // namespace
}  // namespace chorus
