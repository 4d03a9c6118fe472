#pragma once

#include <cstdint>
#include <vector>

#include "ops/forest.h"

namespace chorus {

// The forest cut into tiles of tokens: which tiles of keys each tile of queries sees, and the reverse. Tiles that see
// nothing of each other never meet. Inside the lists the rule is one: token n sees key j <= n, as ancestors stand
// before their descendants in the flat array.
struct AttentionTiles {
  static constexpr std::int32_t rows_per_tile = 64;

  // `rows` tokens of one segment from token `first` on. As queries they see keys[keys_begin .. keys_end), in which the
  // first row sees the first key; as keys they are seen by runs[runs_begin .. runs_end).
  struct Tile {
    std::int32_t first, rows, keys_begin, keys_end, runs_begin, runs_end;
  };
  struct Keys {
    std::int32_t first, count;
  };
  // tiles[begin .. end) see the first `visible` keys of the tile.
  struct Run {
    std::int32_t begin, end, visible;
  };

  std::vector<Tile> tiles;
  std::vector<Keys> keys;
  std::vector<Run> runs;

  explicit AttentionTiles(const Forest& forest);
  // tiles, keys and runs, one after another: what is copied to the GPU.
  std::vector<std::int32_t> words() const;

 private:
  void add_keys(std::int32_t begin, std::int32_t end);
  void add_run(const Run& run, std::int32_t runs_begin);
  void add_runs_of_segments(const Forest& forest, const std::vector<std::int32_t>& first_tile);
};

namespace cuda {

// AttentionTiles in the GPU's memory.
struct TileLists {
  const AttentionTiles::Tile* tiles;
  const AttentionTiles::Keys* keys;
  const AttentionTiles::Run* runs;
  std::int32_t count;  // of tiles

  TileLists(const AttentionTiles& lists, const void* words)
      : tiles(static_cast<const AttentionTiles::Tile*>(words)),
        keys(reinterpret_cast<const AttentionTiles::Keys*>(tiles + lists.tiles.size())),
        runs(reinterpret_cast<const AttentionTiles::Run*>(keys + lists.keys.size())),
        count(static_cast<std::int32_t>(lists.tiles.size())) {}
};

}  // namespace cuda

}  // namespace chorus
