#pragma once

#include <optional>

#include "ops/cuda/attention_tiles.h"
#include "ops/cuda/check.h"
#include "ops/cuda/resources.h"

namespace chorus {

// The lists of the last forest, in memory of their own on the GPU: all layers of a micro-batch, forward and backward,
// attend over the same one.
class CudaBackend::AttentionLists {
 public:
  cuda::TileLists of(const Forest& forest, Resources& resources) {
    if (!tiles_ || forest.segments != segments_) {
      tiles_.reset();  // in case that an error follows
      AttentionTiles tiles(forest);
      const std::vector<std::int32_t> words = tiles.words();
      const auto bytes = static_cast<std::int64_t>(words.size() * sizeof(std::int32_t));
      if (bytes > size_) {
        cuda::check(cudaStreamSynchronize(resources.stream()), "cudaStreamSynchronize");
        memory_.reset();
        size_ = 0;
        memory_.reset(cuda::allocate_device_memory(2 * bytes, "the tiles of attention"));
        size_ = 2 * bytes;
      }
      resources.upload(memory_.get(), words.data(), bytes);
      segments_ = forest.segments;
      tiles_ = std::move(tiles);
    }
    return {*tiles_, memory_.get()};
  }

 private:
  std::vector<Segment> segments_;
  std::optional<AttentionTiles> tiles_;
  cuda::Handle<void*, cudaFree> memory_;
  std::int64_t size_ = 0;
};

}  // namespace chorus
