#pragma once

#include <algorithm>
#include <cstdint>

// What CudaBackend takes of a GPU beside the arenas, in bytes: it takes, and plans count, by the same numbers.
namespace chorus::device_memory {

// The kernels' share and cuBLASLt's: more gains little (NVIDIA advises 32 MiB for Hopper).
inline constexpr std::int64_t least_workspace = std::int64_t{32} << 20;

// attention_backward() takes two floats of the workspace for each row of a head: N · Hq rows.
constexpr std::int64_t attention_workspace(std::int64_t rows) {
  return rows * 2 * static_cast<std::int64_t>(sizeof(float));
}

// The workspace grows where attention needs more.
constexpr std::int64_t workspace(std::int64_t attention_rows) {
  return std::max(least_workspace, attention_workspace(attention_rows));
}

// Twice what the lists need, so that they need not grow often.
constexpr std::int64_t tile_lists(std::int64_t needed) { return 2 * needed; }

}  // namespace chorus::device_memory
