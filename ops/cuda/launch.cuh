#pragma once

#include <algorithm>

#include "ops/cuda/check.h"
#include "ops/cuda/device.cuh"

namespace chorus::cuda {

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Of every kernel here: enough to hide the memory's latency, few enough for all registers that a thread may
// have.
inline constexpr int threads_per_block = 256;

// A grid of one block per item. Only x may have more than 65535.
inline dim3 blocks(std::int64_t x, std::int64_t y = 1) {
  return {static_cast<unsigned>(x), static_cast<unsigned>(y)};
}
// Blocks whose threads go through `items` in strides of the grid: at most some full loads of the largest GPU.
inline dim3 blocks_for(std::int64_t items) {
  return blocks(std::min<std::int64_t>(divide_up(items, threads_per_block), 4096));
}
// Whole warps for a block that goes through `items`.
inline int threads_for(std::int64_t items) {
  return static_cast<int>(std::clamp<std::int64_t>(divide_up(items, 32) * 32, 32, threads_per_block));
}

// Starts kernel(arguments…) in `stream`; an empty grid is no work. Kernels take trivially copyable arguments
// by value.
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, int threads, std::size_t shared_bytes,
            cudaStream_t stream, const Arguments&... arguments) {
  if (grid.x == 0 || grid.y == 0) return;
  // More than any GPU gives unasked; it costs less than the launch.
  if (shared_bytes > 48 * 1024) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                               cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
          "cudaFuncSetAttribute");
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), "cudaLaunchKernelEx");
}

}  // namespace chorus::cuda
