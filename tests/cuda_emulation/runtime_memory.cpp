// The CUDA runtime: memory and copies.

#include <cstring>
#include <memory>
#include <vector>

#include "tests/cuda_emulation/device_memory.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/runtime.h"
#include "tests/cuda_emulation/shadow.h"

namespace chorus::cuda_emulation {
namespace {

void check_source(const void* from, std::size_t bytes) {
  if (!is_device_memory(from)) return;
  check_range(from, bytes, false, "source of a copy");
  if (!checked) return;
  if (const std::ptrdiff_t first = first_unwritten(from, bytes); first >= 0) {
    report(Location::current(), "a copy of {} bytes reads uninitialised device memory from byte {} on: {}",
           bytes, first, describe_address(from));
  }
}

void copy(void* to, const void* from, std::size_t bytes) {
  check_source(from, bytes);
  if (is_device_memory(to)) {
    check_range(to, bytes, true, "destination of a copy");
    if (checked) mark_written(to, bytes);
  }
  std::memmove(to, from, bytes);
}

bool fits(const void* to, const void* from, cudaMemcpyKind kind) {
  const bool to_device = is_device_memory(to), from_device = is_device_memory(from);
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    case cudaMemcpyDefault:
      return true;
  }
  return false;
}

std::uint64_t hash(const void* data, std::size_t bytes) {
  constexpr std::uint64_t prime = 1099511628211U;
  std::uint64_t result = 14695981039346656037U;
  const auto* p = static_cast<const unsigned char*>(data);
  for (; bytes >= 8; bytes -= 8, p += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, p, 8);
    result = (result ^ word) * prime;
    result ^= result >> 29;
  }
  for (; bytes > 0; --bytes, ++p) result = (result ^ *p) * prime;
  return result;
}

cudaError_t copy_from_pinned(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  enqueue(stream, "cudaMemcpyAsync", [=, before = hash(from, bytes)] {
    if (hash(from, bytes) != before) {
      report(Location::current(),
             "the pinned source {} of an asynchronous copy was changed before the copy ran", from);
    }
    copy(to, from, bytes);
    return true;
  });
  return cudaSuccess;
}

// Pageable memory: the runtime has taken a copy of a source when the call returns, and has filled a destination.
cudaError_t copy_from_pageable(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  const auto* begin = static_cast<const char*>(from);
  const auto staged = std::make_shared<const std::vector<char>>(begin, begin + bytes);
  enqueue(stream, "cudaMemcpyAsync", [=] {
    copy(to, staged->data(), bytes);
    return true;
  });
  return cudaSuccess;
}

cudaError_t copy_to_host(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  const bool pinned = is_pinned(to);
  if (pinned) std::memset(to, 0xff, bytes);  // who does not wait for the copy shall read NaN
  enqueue(stream, "cudaMemcpyAsync", [=] {
    copy(to, from, bytes);
    return true;
  });
  if (!pinned) finish_stream(stream);
  return cudaSuccess;
}

}  // namespace
}  // namespace chorus::cuda_emulation

using namespace chorus::cuda_emulation;

extern "C" {

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  return runtime_entry(__func__, [&] {
    *total = settings().device_bytes;
    *free = *total - allocated_bytes(current_device());
    return cudaSuccess;
  });
}

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  return runtime_entry(__func__, [&] {
    *data = nullptr;
    if (bytes == 0) return cudaSuccess;
    *data = allocate(bytes, current_device());
    return *data == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
  });
}

cudaError_t cudaFree(void* data) {
  return runtime_entry(__func__, [&] {
    if (data == nullptr) return cudaSuccess;
    finish_all_streams();
    return deallocate(data) ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaMallocAsync(void** data, std::size_t bytes, cudaStream_t stream) {
  return runtime_entry(__func__, [&] {
    check_stream(stream, "cudaMallocAsync");
    *data = bytes == 0 ? nullptr : allocate(bytes, stream->device);
    return *data == nullptr && bytes != 0 ? cudaErrorMemoryAllocation : cudaSuccess;
  });
}

cudaError_t cudaFreeAsync(void* data, cudaStream_t stream) {
  return runtime_entry(__func__, [&] {
    if (data == nullptr) return cudaSuccess;
    enqueue(stream, "cudaFreeAsync", [data] {
      if (!deallocate(data))
        report(Location::current(), "cudaFreeAsync of {}, which is not a live allocation", data);
      return true;
    });
    return cudaSuccess;
  });
}

cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) {
  return runtime_entry(__func__, [&] {
    *data = bytes == 0 ? nullptr : allocate_pinned(bytes);
    return *data == nullptr && bytes != 0 ? cudaErrorMemoryAllocation : cudaSuccess;
  });
}

cudaError_t cudaFreeHost(void* data) {
  return runtime_entry(__func__, [&] {
    if (data == nullptr) return cudaSuccess;
    finish_all_streams();
    return deallocate_pinned(data) ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return runtime_entry(__func__, [&] {
    if (bytes == 0) return cudaSuccess;
    if (!fits(to, from, kind)) return cudaErrorInvalidValue;
    check_stream(stream, "cudaMemcpyAsync");
    if (!is_device_memory(to)) return copy_to_host(to, from, bytes, stream);
    if (is_device_memory(from)) {
      enqueue(stream, "cudaMemcpyAsync", [=] {
        copy(to, from, bytes);
        return true;
      });
      return cudaSuccess;
    }
    return is_pinned(from) ? copy_from_pinned(to, from, bytes, stream)
                           : copy_from_pageable(to, from, bytes, stream);
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return runtime_entry(__func__, [&] {
    if (bytes == 0) return cudaSuccess;
    if (!fits(to, from, kind)) return cudaErrorInvalidValue;
    finish_blocking_streams();  // and no others, as on a device
    const DeviceAccess access;
    copy(to, from, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t stream) {
  return runtime_entry(__func__, [&] {
    if (bytes == 0) return cudaSuccess;
    enqueue(stream, "cudaMemsetAsync", [=] {
      check_range(data, bytes, true, "cudaMemsetAsync");
      std::memset(data, value, bytes);
      if (checked) mark_written(data, bytes);
      return true;
    });
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return runtime_entry(__func__, [&] {
    *attributes = {};
    const int device = device_of(pointer);
    if (device >= 0) {
      attributes->type = cudaMemoryTypeDevice;
      attributes->devicePointer = const_cast<void*>(pointer);
    } else {
      attributes->type = is_pinned(pointer) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
    }
    attributes->device = device >= 0 ? device : current_device();
    return cudaSuccess;
  });
}
}
