#pragma once

#include <array>
#include <cstdint>

#include <cuda_runtime.h>

#include "ops/cuda/handle.h"
#include "ops/device_memory.h"

namespace chorus::cuda {

// What a backend holds of one GPU: its stream, its working memory, and pinned memory for copies.
class Resources {
 public:
  // Throws ConfigurationError where there is no such GPU, or not one that we can use.
  explicit Resources(int device);
  ~Resources();
  Resources(const Resources&) = delete;
  Resources& operator=(const Resources&) = delete;

  cudaStream_t stream() const { return stream_.get(); }
  // Grows where it must, after waiting for all work.
  void* workspace(std::int64_t bytes);
  // Copies pass through two pinned buffers in turn, so that filling one overlaps the transfer of the other.
  void upload(void* to, const void* from, std::int64_t bytes);
  void download(void* to, const void* from, std::int64_t bytes);

  static constexpr std::int64_t workspace_bytes = device_memory::least_workspace;
  static constexpr std::int64_t staging_bytes = std::int64_t{8} << 20;

 private:
  struct Staging {
    Handle<void*, cudaFreeHost> memory;
    Handle<cudaEvent_t, cudaEventDestroy> transferred;  // recorded after the last copy out of it
  };

  Handle<cudaStream_t, cudaStreamDestroy> stream_;
  Handle<void*, cudaFree> workspace_;
  std::int64_t workspace_size_ = 0;
  std::array<Staging, 2> staging_;
  std::size_t next_ = 0;
};

// Throws MemoryError, which says what the memory was for, where the GPU has no room.
void* allocate_device_memory(std::int64_t bytes, const char* purpose);

}  // namespace chorus::cuda
