#pragma once

#include <optional>

#include "ops/attention_tiles.h"
#include "ops/cuda/check.h"
#include "ops/cuda/resources.h"

namespace chorus::cuda {

// AttentionTiles in the GPU's memory.
struct TileLists {
  const std::int32_t* visible;
  const AttentionTiles::Tile* tiles;
  const AttentionTiles::Keys* keys;
  const AttentionTiles::Run* runs;
  const AttentionTiles::Group* groups;
  const AttentionTiles::GroupKeys* group_keys;
  const AttentionTiles::KeyGroup* key_groups;
  const AttentionTiles::GroupQueries* group_queries;
  const std::int32_t *gathered, *seen;
  std::int32_t count, group_count, key_group_count;  // of tiles, groups and key groups

  TileLists(const AttentionTiles& lists, const void* words)
      : visible(static_cast<const std::int32_t*>(words)),
        tiles(reinterpret_cast<const AttentionTiles::Tile*>(visible + lists.visible.size())),
        keys(reinterpret_cast<const AttentionTiles::Keys*>(tiles + lists.tiles.size())),
        runs(reinterpret_cast<const AttentionTiles::Run*>(keys + lists.keys.size())),
        groups(reinterpret_cast<const AttentionTiles::Group*>(runs + lists.runs.size())),
        group_keys(reinterpret_cast<const AttentionTiles::GroupKeys*>(groups + lists.groups.size())),
        key_groups(reinterpret_cast<const AttentionTiles::KeyGroup*>(group_keys + lists.group_keys.size())),
        group_queries(
            reinterpret_cast<const AttentionTiles::GroupQueries*>(key_groups + lists.key_groups.size())),
        gathered(reinterpret_cast<const std::int32_t*>(group_queries + lists.group_queries.size())),
        seen(gathered + lists.gathered.size()),
        count(static_cast<std::int32_t>(lists.tiles.size())),
        group_count(static_cast<std::int32_t>(lists.groups.size())),
        key_group_count(static_cast<std::int32_t>(lists.key_groups.size())) {}
};

// The lists of the last forest, in memory of their own on the GPU: all layers of a micro-batch, forward and backward,
// attend over the same one.
class AttentionLists {
 public:
  TileLists of(const Forest& forest, Resources& resources) {
    if (!tiles_ || forest.segments != segments_) {
      tiles_.reset();  // in case that an error follows
      AttentionTiles tiles(forest);
      const std::vector<std::int32_t> words = tiles.words();
      const auto bytes = static_cast<std::int64_t>(words.size() * sizeof(std::int32_t));
      if (bytes > size_) {
        check(cudaStreamSynchronize(resources.stream()), "cudaStreamSynchronize");
        memory_.reset();
        size_ = 0;
        const std::int64_t size = device_memory::tile_lists(bytes);
        memory_.reset(allocate_device_memory(size, "the tiles of attention"));
        size_ = size;
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
  Handle<void*, cudaFree> memory_;
  std::int64_t size_ = 0;
};

}  // namespace chorus::cuda
