#pragma once

#include <string>
#include <vector>

namespace chorus {

// What `chorus doctor` tells of GPUs. Implemented by cuda_device.cpp or no_cuda_device.cpp; CMake picks one.
struct GpuReport {
  std::string versions;           // of driver, CUDA and NCCL
  std::vector<std::string> gpus;  // that this process sees
  std::string problem;            // why none of them can be used; empty: all can
};
GpuReport report_gpus();

}  // namespace chorus
