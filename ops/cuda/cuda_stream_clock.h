#pragma once

#include <cstddef>
#include <vector>

#include <cuda_runtime.h>

#include "ops/cuda/handle.h"
#include "ops/stream_clock.h"

namespace chorus {

// Marks by events in a CUDA stream. What is between two of them is measured by the GPU, to some half a microsecond; the
// launch of the work counts, as far as it was not queued ahead.
class CudaStreamClock final : public StreamClock {
 public:
  explicit CudaStreamClock(cudaStream_t stream) : stream_(stream) {}
  void mark() override;
  std::vector<double> intervals() override;

 private:
  cudaStream_t stream_;
  std::vector<cuda::Handle<cudaEvent_t, cudaEventDestroy>> events_;  // kept for the marks to come
  std::size_t marks_ = 0;
};

}  // namespace chorus
