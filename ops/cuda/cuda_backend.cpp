#include "ops/cuda/cuda_backend.h"

#include <algorithm>
#include <cstring>

#include "ops/cuda/attention_lists.h"
#include "ops/cuda/check.h"
#include "ops/cuda/gpu.h"
#include "ops/cuda/low_rank.h"
#include "ops/cuda/matmul_plans.h"
#include "ops/cuda/resources.h"
#include "ops/low_rank_composed.h"
#include "ops/memory.h"

namespace chorus {

namespace cuda {

void* allocate_device_memory(std::int64_t bytes, const char* purpose) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, static_cast<std::size_t>(bytes));
  if (status != cudaErrorMemoryAllocation) {
    check(status, "cudaMalloc");
    return memory;
  }
  (void)cudaGetLastError();  // it would stick to later calls
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  throw MemoryError(
      fmt::format("the GPU has no room for {} of {} bytes: {} of its {} bytes are free. Use fewer tokens per "
                  "micro-batch, recompute, or more tensor-parallel ranks",
                  purpose, bytes, free, total));
}

namespace {

void select_gpu(int device) {
  const std::vector<Gpu> gpus = list_gpus();
  const auto count = static_cast<int>(gpus.size());
  require<ConfigurationError>(device >= 0 && device < count, "no usable GPU: number ", device,
                              " was asked for, but this process sees ", count, count == 1 ? " GPU" : " GPUs",
                              ", counted from 0");
  require_supported(gpus[static_cast<std::size_t>(device)]);
  check(cudaSetDevice(device), "cudaSetDevice");
}

}  // namespace

Resources::Resources(int device) {
  select_gpu(device);
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  stream_.reset(stream);
  for (Staging& staging : staging_) {
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, staging_bytes, cudaHostAllocDefault), "cudaHostAlloc");
    staging.memory.reset(memory);
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    staging.transferred.reset(event);
  }
  workspace(workspace_bytes);
}

// Work may still be using what the members free.
Resources::~Resources() { (void)cudaStreamSynchronize(stream()); }

void* Resources::workspace(std::int64_t bytes) {
  if (bytes > workspace_size_) {
    check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
    workspace_size_ = 0;
    workspace_.reset();  // before the new one, since both might not fit
    workspace_.reset(allocate_device_memory(bytes, "a workspace"));
    workspace_size_ = bytes;
  }
  return workspace_.get();
}

void Resources::upload(void* to, const void* from, std::int64_t bytes) {
  for (std::int64_t done = 0; done < bytes; done += staging_bytes) {
    const auto size = static_cast<std::size_t>(std::min(bytes - done, staging_bytes));
    const Staging& staging = staging_[next_++ % staging_.size()];
    check(cudaEventSynchronize(staging.transferred.get()), "cudaEventSynchronize");
    std::memcpy(staging.memory.get(), static_cast<const char*>(from) + done, size);
    check(cudaMemcpyAsync(static_cast<char*>(to) + done, staging.memory.get(), size, cudaMemcpyHostToDevice,
                          stream()),
          "cudaMemcpyAsync");
    check(cudaEventRecord(staging.transferred.get(), stream()), "cudaEventRecord");
  }
}

void Resources::download(void* to, const void* from, std::int64_t bytes) {
  // The piece that is on its way; the one before it is being copied out meanwhile.
  const auto fetch = [&](std::int64_t begin) {
    const Staging& staging = staging_[next_++ % staging_.size()];
    check(cudaEventSynchronize(staging.transferred.get()), "cudaEventSynchronize");
    check(cudaMemcpyAsync(staging.memory.get(), static_cast<const char*>(from) + begin,
                          static_cast<std::size_t>(std::min(bytes - begin, staging_bytes)),
                          cudaMemcpyDeviceToHost, stream()),
          "cudaMemcpyAsync");
    check(cudaEventRecord(staging.transferred.get(), stream()), "cudaEventRecord");
    return &staging;
  };
  if (bytes == 0) return check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
  const Staging* ready = fetch(0);
  for (std::int64_t begin = 0; begin < bytes; begin += staging_bytes) {
    const std::int64_t end = std::min(bytes, begin + staging_bytes);
    const Staging* following = end < bytes ? fetch(end) : nullptr;
    check(cudaEventSynchronize(ready->transferred.get()), "cudaEventSynchronize");
    std::memcpy(static_cast<char*>(to) + begin, ready->memory.get(), static_cast<std::size_t>(end - begin));
    ready = following;
  }
}

}  // namespace cuda

CudaBackend::CudaBackend(int device)
    : resources_(std::make_unique<cuda::Resources>(device)),
      matmul_plans_(std::make_unique<cuda::MatmulPlanCache>(cuda::Resources::workspace_bytes)),
      attention_lists_(std::make_unique<cuda::AttentionLists>()) {}

CudaBackend::~CudaBackend() = default;

CUstream_st* CudaBackend::stream() const { return resources_->stream(); }

void* CudaBackend::workspace(std::int64_t bytes) { return resources_->workspace(bytes); }

Buffer CudaBackend::allocate(std::int64_t bytes) {
  require(bytes >= 0, "a buffer of ", bytes, " bytes");
  // An empty buffer has an address of its own, too.
  void* memory = cuda::allocate_device_memory(std::max(bytes, Arena::alignment), "a buffer");
  return {memory, bytes, cuda::Destroy<cudaFree>{}};
}

void CudaBackend::upload(Tensor to, const void* from) { resources_->upload(to.address(), from, to.bytes()); }

void CudaBackend::download(void* to, ConstTensor from) {
  resources_->download(to, from.address(), from.bytes());
}

void CudaBackend::low_rank_down(std::span<const LowRankDown> paths, ConstTensor x, ConstTensor token_ids,
                                Tensor scratch) {
  if (!cuda::low_rank_down(paths, x, token_ids, stream()))
    composed::low_rank_down(*this, paths, x, token_ids, scratch);
}

void CudaBackend::low_rank_input_gradient(Tensor dx, std::span<const LowRankInputGradient> paths,
                                          ConstTensor token_ids, Tensor scratch) {
  if (!cuda::low_rank_input_gradient(dx, paths, token_ids, stream()))
    composed::low_rank_input_gradient(*this, dx, paths, token_ids, scratch);
}

void CudaBackend::low_rank_factor_gradient(std::span<const LowRankFactorGradient> paths, ConstTensor x,
                                           ConstTensor token_ids, Tensor scratch) {
  if (!cuda::low_rank_factor_gradient(paths, x, token_ids, stream()))
    composed::low_rank_factor_gradient(*this, paths, x, token_ids, scratch);
}

}  // namespace chorus
