#include "ops/cuda/gpu.h"

#include <algorithm>
#include <cstring>

#include "ops/cuda/check.h"

namespace chorus {

using cuda::check;

std::vector<Gpu> list_gpus() {
  int driver = 0, count = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  require<ConfigurationError>(
      driver != 0,
      "no usable GPU: no NVIDIA driver is loaded on this machine. Use --device cpu, or a machine "
      "where nvidia-smi lists GPUs");
  const cudaError_t status = cudaGetDeviceCount(&count);
  (void)cudaGetLastError();  // it would stick to later calls
  require<ConfigurationError>(status != cudaErrorInsufficientDriver,
                              "no usable GPU: the NVIDIA driver is too old. It speaks CUDA ", driver / 1000,
                              ".", driver % 1000 / 10, ", this program was built with CUDA ",
                              CUDART_VERSION / 1000, ".", CUDART_VERSION % 1000 / 10);
  require<ConfigurationError>(
      status == cudaSuccess && count > 0,
      "no usable GPU: the driver shows none to this process (cudaGetDeviceCount: ",
      cudaGetErrorString(status),
      "). Is CUDA_VISIBLE_DEVICES empty, or no GPU asked of Slurm (--gpus-per-node)?");
  std::vector<Gpu> gpus;
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    Gpu gpu{.name = properties.name,
            .major = properties.major,
            .minor = properties.minor,
            .memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem)};
    const std::array<std::int32_t, 2> address{properties.pciDomainID, properties.pciBusID};
    static_assert(sizeof(properties.uuid) + sizeof(address) == sizeof(gpu.identity));
    std::memcpy(gpu.identity.data(), &properties.uuid, sizeof(properties.uuid));
    std::memcpy(gpu.identity.data() + sizeof(properties.uuid), address.data(), sizeof(address));
    gpus.push_back(gpu);
  }
  return gpus;
}

void require_supported(const Gpu& gpu) {
  require<ConfigurationError>(gpu.major >= 8, "no usable GPU: ", gpu.name, " has compute capability ",
                              gpu.major, ".", gpu.minor, "; Chorus needs 8.0 (Ampere, 2020) or later");
}

std::int64_t gpu_memory_in_use() {
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return static_cast<std::int64_t>(total - free);
}

std::string cuda_versions() {
  int driver = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  const auto version = [](int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); };
  return fmt::format("{}, built with CUDA {}",
                     driver == 0 ? "no driver" : "driver for CUDA " + version(driver),
                     version(CUDART_VERSION));
}

}  // namespace chorus
