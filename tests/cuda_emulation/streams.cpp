#include "tests/cuda_emulation/streams.h"

#include <algorithm>
#include <memory>
#include <vector>

#include <sched.h>

#include "tests/cuda_emulation/device_memory.h"
#include "tests/cuda_emulation/entry_points.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/settings.h"

namespace chorus::cuda_emulation {
namespace {

std::vector<std::unique_ptr<CUstream_st>>& streams() {
  static std::vector<std::unique_ptr<CUstream_st>> result;  // in the order of creation
  return result;
}

bool any_work() {
  return std::any_of(streams().begin(), streams().end(),
                     [](const auto& stream) { return !stream->queue.empty(); });
}

bool work_somewhere_at_random() {
  std::vector<CUstream_st*> busy;
  for (const auto& stream : streams()) {
    if (!stream->queue.empty()) busy.push_back(stream.get());
  }
  std::shuffle(busy.begin(), busy.end(), randomness());
  return std::any_of(busy.begin(), busy.end(), [](CUstream_st* stream) { return work_once(stream); });
}

// The stream asked for goes first; the others help, newest first, when it must wait.
bool work_lazily(cudaStream_t preferred) {
  if (preferred != nullptr && work_once(preferred)) return true;
  return std::any_of(streams().rbegin(), streams().rend(), [&](const auto& stream) {
    return stream.get() != preferred && work_once(stream.get());
  });
}

}  // namespace

bool work_once(cudaStream_t stream) {
  if (stream->queue.empty() || stream->working) return false;
  const DeviceAccess access;
  stream->working = true;
  const bool done = stream->queue.front()();
  stream->working = false;
  if (done) stream->queue.pop_front();
  return done;
}

cudaStream_t create_stream(int device, bool blocking) {
  streams().push_back(std::make_unique<CUstream_st>());
  streams().back()->device = device;
  streams().back()->blocking = blocking;
  ++live().streams;
  return streams().back().get();
}

void destroy_stream(cudaStream_t stream) {
  finish_stream(stream);
  std::erase_if(streams(), [&](const auto& other) { return other.get() == stream; });
  --live().streams;
}

void check_stream(cudaStream_t stream, const char* call) {
  if (stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread) {
    report(Location::current(), "{} on the default stream, which waits for others unasked", call);
  }
  const bool known = std::any_of(streams().begin(), streams().end(),
                                 [&](const auto& other) { return other.get() == stream; });
  if (!known) report(Location::current(), "{} on a stream that was destroyed or never created", call);
}

void enqueue(cudaStream_t stream, const char* call, Work work) {
  check_stream(stream, call);
  stream->queue.push_back(std::move(work));
  if (settings().streams == Progress::eager) {
    while (work_once(stream)) {  // as far as it goes: a call does not wait for other ranks
    }
  } else if (settings().streams == Progress::random && randomness()() % 3 == 0) {
    for (const auto& other : streams()) {
      if (randomness()() % 2 == 0) work_once(other.get());
    }
  }
}

void work_until(const std::function<bool()>& condition, cudaStream_t stream) {
  const DeviceAccess access;  // opened once for all of it
  while (!condition()) {
    const bool progress =
        settings().streams == Progress::random ? work_somewhere_at_random() : work_lazily(stream);
    if (progress) continue;
    if (!any_work() && !condition()) report(Location::current(), "waiting for work that was never queued");
    sched_yield();  // another process must do its part
  }
}

void finish_stream(cudaStream_t stream) {
  work_until([&] { return stream->queue.empty(); }, stream);
}

void finish_all_streams() {
  for (const auto& stream : streams()) finish_stream(stream.get());
}

void finish_blocking_streams() {
  for (const auto& stream : streams()) {
    if (stream->blocking) finish_stream(stream.get());
  }
}

}  // namespace chorus::cuda_emulation
