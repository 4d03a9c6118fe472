#include "ops/cuda/cuda_stream_clock.h"

#include <utility>

#include "ops/cuda/check.h"

namespace chorus {

using cuda::check;

void CudaStreamClock::mark() {
  if (marks_ == events_.size()) {
    cudaEvent_t event = nullptr;
    check(cudaEventCreate(&event), "cudaEventCreate");
    events_.emplace_back(event);
  }
  check(cudaEventRecord(events_[marks_].get(), stream_), "cudaEventRecord");
  ++marks_;
}

std::vector<double> CudaStreamClock::intervals() {
  const std::size_t marks = std::exchange(marks_, 0);
  std::vector<double> seconds;
  if (marks == 0) return seconds;
  check(cudaEventSynchronize(events_[marks - 1].get()), "cudaEventSynchronize");
  for (std::size_t i = 1; i < marks; ++i) {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, events_[i - 1].get(), events_[i].get()),
          "cudaEventElapsedTime");
    seconds.push_back(1e-3 * static_cast<double>(milliseconds));
  }
  return seconds;
}

}  // namespace chorus
