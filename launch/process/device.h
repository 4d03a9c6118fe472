#pragma once

#include <memory>
#include <string>

#include "ops/backend.h"
#include "ops/stream_clock.h"
#include "parallel/communicator.h"

namespace chorus {

enum class DeviceKind { automatic, cpu, cuda };

// What a rank computes with, and its groups for tensors there.
class Device {
 public:
  virtual ~Device() = default;
  virtual Backend& backend() = 0;
  virtual Groups groups() = 0;
  // Of the backend's work; the device outlives it.
  virtual std::unique_ptr<StreamClock> stream_clock() = 0;
  // Of one rank's, computing in `precision`: "2 CPU threads (bf16 products by AMX)".
  virtual std::string description(DType precision) const = 0;
  // As CUDA calls the rank's GPU, those of all ranks being equal; "" of a CPU.
  virtual std::string gpu_name() const = 0;
  // Bytes that computing takes: of the process's memory at most so far, or of the GPU's now.
  virtual std::int64_t memory_in_use() const = 0;
  // Whether tensors may lie anywhere in host memory, so that what is there need not be copied.
  virtual bool computes_in_host_memory() const = 0;
};

// Where a rank stands on its machine.
struct NodePlace {
  int rank = 0, size = 1;
};

std::unique_ptr<Device> open_cpu(int threads, const Groups& host);

// The rank's GPU, chosen by its place among the ranks of the machine. Collective over host.world. Throws
// ConfigurationError where there are too few GPUs, or different or unsupported ones, or where the program was built
// without CUDA. Implemented by cuda_device.cpp or no_cuda_device.cpp; CMake picks one.
std::unique_ptr<Device> open_gpu(const NodePlace& place, const Groups& host);
// Whether this process sees GPUs, and can use all of them.
bool has_gpu();

}  // namespace chorus
