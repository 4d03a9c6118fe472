// The CUDA runtime: devices and errors.

#include <algorithm>
#include <map>

#include "tests/cuda_emulation/device_memory.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/runtime.h"

namespace chorus::cuda_emulation {
namespace {

cudaError_t last_error = cudaSuccess;
int chosen_device = 0;

std::map<const void*, std::size_t>& shared_memory_limits() {
  static std::map<const void*, std::size_t> limits;
  return limits;
}

cudaDeviceProp properties_of(int device) {
  const DeviceModel& model = model_of(device);
  cudaDeviceProp properties{};
  model.name.copy(properties.name, sizeof properties.name - 1);
  properties.major = model.major;
  properties.minor = model.minor;
  properties.multiProcessorCount = model.multiprocessors;
  properties.totalGlobalMem = settings().device_bytes;
  properties.sharedMemPerBlock = std::size_t{48} * 1024;
  properties.sharedMemPerBlockOptin = model.shared_bytes();
  properties.sharedMemPerMultiprocessor = model.shared_bytes() + 1024;
  properties.warpSize = 32;
  properties.regsPerBlock = 65536;
  properties.maxThreadsPerBlock = 1024;
  properties.maxThreadsPerMultiProcessor = 2048;
  properties.unifiedAddressing = 1;
  properties.pciBusID = device;
  return properties;
}

}  // namespace

int current_device() {
  if (!is_device(chosen_device)) chosen_device = 0;  // configure() may have taken it away
  return chosen_device;
}

cudaError_t failed(cudaError_t error) {
  last_error = error;
  return error;
}

std::size_t shared_memory_limit(const void* kernel) {
  const auto found = shared_memory_limits().find(kernel);
  return found == shared_memory_limits().end() ? std::size_t{48} * 1024 : found->second;
}

}  // namespace chorus::cuda_emulation

using namespace chorus::cuda_emulation;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  return runtime_entry(__func__, [&] {
    *count = static_cast<int>(settings().devices.size());
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return runtime_entry(__func__, [&] {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    chosen_device = device;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDevice(int* device) {
  return runtime_entry(__func__, [&] {
    *device = current_device();
    return cudaSuccess;
  });
}

// Both work without a driver; version 0 is how its absence shows.
cudaError_t cudaDriverGetVersion(int* version) {
  return entry<cudaError_t>(__func__, [&] {
    *version = settings().driver ? CUDART_VERSION : 0;
    return cudaSuccess;
  });
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  return entry<cudaError_t>(__func__, [&] {
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return runtime_entry(__func__, [&] {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    *properties = properties_of(device);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return runtime_entry(__func__, [&] {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    const cudaDeviceProp properties = properties_of(device);
    switch (attribute) {
      case cudaDevAttrComputeCapabilityMajor:
        *value = properties.major;
        break;
      case cudaDevAttrComputeCapabilityMinor:
        *value = properties.minor;
        break;
      case cudaDevAttrMultiProcessorCount:
        *value = properties.multiProcessorCount;
        break;
      case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = static_cast<int>(properties.sharedMemPerBlock);
        break;
      case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = static_cast<int>(properties.sharedMemPerBlockOptin);
        break;
      case cudaDevAttrMaxThreadsPerBlock:
        *value = properties.maxThreadsPerBlock;
        break;
      case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = properties.maxThreadsPerMultiProcessor;
        break;
      case cudaDevAttrWarpSize:
        *value = properties.warpSize;
        break;
      case cudaDevAttrUnifiedAddressing:
        *value = properties.unifiedAddressing;
        break;
      case cudaDevAttrMemoryPoolsSupported:
        *value = 1;
        break;
      default:
        explain("cudaDeviceGetAttribute: attribute not emulated");
        return cudaErrorNotSupported;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return runtime_entry(__func__, [&] {
    finish_all_streams();
    return cudaSuccess;
  });
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  return runtime_entry(__func__, [&] {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    const std::size_t most = model_of(current_device()).shared_bytes();
    if (value < 0 || static_cast<std::size_t>(value) > most) {
      explain(fmt::format("{} bytes of shared memory for {}; the device has {}", value,
                          function_name(kernel, "a kernel"), most));
      return cudaErrorInvalidValue;
    }
    shared_memory_limits()[kernel] = static_cast<std::size_t>(value);
    return cudaSuccess;
  });
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInitializationError:
      return "cudaErrorInitializationError";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoKernelImageForDevice:
      return "cudaErrorNoKernelImageForDevice";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorNotSupported:
      return "cudaErrorNotSupported";
    case cudaErrorECCUncorrectable:
      return "cudaErrorECCUncorrectable";
    case cudaErrorUnknown:
      return "cudaErrorUnknown";
    default:
      return "an error that the emulation has no name for";
  }
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "an argument is invalid";
    case cudaErrorMemoryAllocation:
      return "the device is out of memory";
    case cudaErrorInvalidDevice:
      return "no such device";
    case cudaErrorNoDevice:
      return "there is no device";
    case cudaErrorInsufficientDriver:
      return "the driver is missing, or too old for the runtime";
    case cudaErrorInvalidResourceHandle:
      return "a stream or event is invalid here";
    case cudaErrorIllegalAddress:
      return "an illegal memory access";
    default:
      return cudaGetErrorName(error);
  }
}
}
