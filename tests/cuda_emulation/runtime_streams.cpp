// The CUDA runtime: streams, events and launches.

#include <algorithm>
#include <chrono>
#include <cstring>

#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/device_memory.h"
#include "tests/cuda_emulation/launch_record.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/runtime.h"

namespace chorus::cuda_emulation {
namespace {

double milliseconds() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

bool is_valid(const cudaLaunchConfig_t& config, const KernelCall& call) {
  const dim3 &grid = config.gridDim, &block = config.blockDim;
  const auto within = [](unsigned x, unsigned most) { return x >= 1 && x <= most; };
  const bool grid_fits = within(grid.x, 0x7fffffffU) && within(grid.y, 65535) && within(grid.z, 65535);
  const bool block_fits = within(block.x, 1024) && within(block.y, 1024) && within(block.z, 64) &&
                          block.x * block.y * block.z <= 1024;
  const std::size_t shared =
      std::min(shared_memory_limit(call.function()), model_of(current_device()).shared_bytes());
  constexpr std::size_t most_arguments = 32764;
  if (grid_fits && block_fits && config.dynamicSmemBytes <= shared &&
      call.argument_bytes() <= most_arguments) {
    return true;
  }
  explain(fmt::format(
      "invalid launch of {}: grid ({},{},{}), block ({},{},{}), {} bytes of shared memory of {} allowed, "
      "{} bytes of arguments",
      function_name(call.function(), call.signature()), grid.x, grid.y, grid.z, block.x, block.y, block.z,
      config.dynamicSmemBytes, shared, call.argument_bytes()));
  return false;
}

// Of the allocations that the kernel was given pointers into.
void check_redzones_of_arguments(const KernelCall& call) {
  const auto* bytes = reinterpret_cast<const char*>(&call);
  const Allocation* last = nullptr;
  for (std::size_t i = 0; i + sizeof(void*) <= call.object_bytes(); i += sizeof(void*)) {
    const void* pointer = nullptr;
    std::memcpy(&pointer, bytes + i, sizeof pointer);
    const Allocation* allocation = find_allocation(pointer);
    if (allocation == nullptr || !allocation->live || allocation == last) continue;
    check_redzones(*allocation, [&] { return "kernel " + function_name(call.function(), call.signature()); });
    last = allocation;
  }
}

}  // namespace

cudaError_t launch(const cudaLaunchConfig_t& config, std::unique_ptr<const KernelCall> given) {
  const std::shared_ptr<const KernelCall> call = std::move(given);  // work in streams can be copied
  return runtime_entry("cudaLaunchKernelEx", [&] {
    if (!is_valid(config, *call)) return cudaErrorInvalidValue;
    check_stream(config.stream, "cudaLaunchKernelEx");
    if (config.stream->device != current_device()) return cudaErrorInvalidResourceHandle;
    record_launch(config, *call);
    enqueue(config.stream, "cudaLaunchKernelEx", [config, call] {
      run_grid(config, call);
      check_redzones_of_arguments(*call);
      return true;
    });
    return cudaSuccess;
  });
}

}  // namespace chorus::cuda_emulation

using namespace chorus::cuda_emulation;

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return runtime_entry(__func__, [&] {
    *stream = create_stream(current_device(), (flags & cudaStreamNonBlocking) == 0);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return runtime_entry(__func__, [&] {
    *stream = create_stream(current_device(), (flags & cudaStreamNonBlocking) == 0);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return runtime_entry(__func__, [&] {
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return runtime_entry(__func__, [&] {
    check_stream(stream, "cudaStreamDestroy");
    destroy_stream(stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return runtime_entry(__func__, [&] {
    if (stream == nullptr) {
      finish_blocking_streams();
      return cudaSuccess;
    }
    check_stream(stream, "cudaStreamSynchronize");
    finish_stream(stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return runtime_entry(__func__, [&] {
    check_stream(stream, "cudaStreamQuery");
    work_once(stream);
    return stream->queue.empty() ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return runtime_entry(__func__, [&] {
    const unsigned awaited = event->recorded;
    if (awaited == 0) return cudaSuccess;  // never recorded: no wait, as on a device
    enqueue(stream, "cudaStreamWaitEvent", [=] { return event->reached >= awaited; });
    return cudaSuccess;
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return runtime_entry(__func__, [&] {
    enqueue(stream, "cudaLaunchHostFunc", [=] {
      function(data);
      return true;
    });
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return runtime_entry(__func__, [&] {
    *event = new CUevent_st;
    (*event)->timing = (flags & cudaEventDisableTiming) == 0;
    ++live().events;
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return runtime_entry(__func__, [&] {
    *event = new CUevent_st;
    ++live().events;
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return runtime_entry(__func__, [&] {
    // Queued work still names it; a device would keep it until then.
    finish_all_streams();
    delete event;
    --live().events;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return runtime_entry(__func__, [&] {
    check_stream(stream, "cudaEventRecord");
    event->stream = stream;
    enqueue(stream, "cudaEventRecord", [event, number = ++event->recorded] {
      event->reached = std::max(event->reached, number);
      event->time = milliseconds();
      return true;
    });
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return runtime_entry(__func__, [&] {
    if (event->reached != event->recorded) work_once(event->stream);
    return event->reached == event->recorded ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return runtime_entry(__func__, [&] {
    work_until([&] { return event->reached == event->recorded; }, event->stream);
    return cudaSuccess;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  return runtime_entry(__func__, [&] {
    if (!from->timing || !to->timing || from->recorded == 0 || to->recorded == 0)
      return cudaErrorInvalidResourceHandle;
    if (from->reached != from->recorded || to->reached != to->recorded) return cudaErrorNotReady;
    *milliseconds = static_cast<float>(to->time - from->time);
    return cudaSuccess;
  });
}
}
