#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace chorus {

// What tells one GPU from another.
struct Gpu {
  std::string name;          // "NVIDIA A100-SXM4-40GB"
  int major = 0, minor = 0;  // compute capability
  std::int64_t memory_bytes = 0;
  std::array<std::uint8_t, 24>
      identity{};  // equal for the same GPU only, on any machine: UUID and PCI address
};

// The GPUs that this process sees. Throws ConfigurationError, which says why, where there are none.
std::vector<Gpu> list_gpus();

// Throws ConfigurationError unless the kernels run on it.
void require_supported(const Gpu& gpu);

// Bytes of this thread's GPU that are taken, also by others.
std::int64_t gpu_memory_in_use();

// "driver for CUDA 13.0, built with CUDA 13.0": what the driver speaks, and what the program was built with.
std::string cuda_versions();

}  // namespace chorus
