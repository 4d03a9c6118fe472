#pragma once

// Work that waits in streams, and when it is done.

#include <deque>
#include <functional>

#include "tests/cuda_emulation/device.h"

namespace chorus::cuda_emulation {

// One piece of work; true when it is done, false to be asked again later.
using Work = std::function<bool()>;

}  // namespace chorus::cuda_emulation

// The runtime's own names for what cudaStream_t and cudaEvent_t point to.
struct CUstream_st {
  int device = 0;
  bool blocking = true;  // in order with the default stream
  std::deque<chorus::cuda_emulation::Work> queue;
  bool working = false;
};
struct CUevent_st {
  unsigned recorded = 0;  // calls of cudaEventRecord
  unsigned reached = 0;   // the last of them that its stream has come to
  CUstream_st* stream = nullptr;
  double time = 0;  // ms
  bool timing = true;
};

namespace chorus::cuda_emulation {

cudaStream_t create_stream(int device, bool blocking);
void destroy_stream(cudaStream_t stream);
// Reports what is not a stream.
void check_stream(cudaStream_t stream, const char* call);

// `call` names the work in reports.
void enqueue(cudaStream_t stream, const char* call, Work work);
// Works until the condition holds: in lazy progress only at what it asks for, in `stream`, and what that waits for.
void work_until(const std::function<bool()>& condition, cudaStream_t stream);
void finish_stream(cudaStream_t stream);
void finish_all_streams();
// A synchronous copy waits for the streams that the default stream would wait for.
void finish_blocking_streams();
// Does a piece of work, if the stream has one that can go on.
bool work_once(cudaStream_t stream);

// The runtime's state.
int current_device();
cudaError_t failed(cudaError_t error);  // remembers it for cudaGetLastError

}  // namespace chorus::cuda_emulation
