#pragma once

#include "tests/cuda_emulation/device.h"
#include "tests/cuda_emulation/entry_points.h"
#include "tests/cuda_emulation/settings.h"
#include "tests/cuda_emulation/streams.h"

namespace chorus::cuda_emulation {

// An entry point of the runtime that needs a driver and a device.
template <typename Body>
cudaError_t runtime_entry(const char* name, const Body& body) {
  if (const int code = enter(name); code != 0) return failed(static_cast<cudaError_t>(code));
  if (!settings().driver) return failed(cudaErrorInsufficientDriver);
  if (settings().devices.empty()) return failed(cudaErrorNoDevice);
  const cudaError_t status = body();
  return status == cudaSuccess || status == cudaErrorNotReady ? status : failed(status);
}

inline const DeviceModel& model_of(int device) {
  return settings().devices[static_cast<std::size_t>(device)];
}
inline bool is_device(int device) {
  return device >= 0 && static_cast<std::size_t>(device) < settings().devices.size();
}

// What cudaFuncSetAttribute allowed, or the 48 KiB that need no asking.
std::size_t shared_memory_limit(const void* kernel);

}  // namespace chorus::cuda_emulation
