#pragma once

#include <cstdint>
#include <vector>

#include "ops/base/forest.h"

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

  // Segments of a dialogue's tree have some twenty tokens and would leave most of a tile empty. So the kernels that work by
  // queries on tensor cores take groups: slices of any segments that see nearly the same keys, a warp for each, and tiles of
  // the keys that any of them sees, gathered where they do not stand together.
  static constexpr std::int32_t rows_per_slice = 16, slices_per_group = 4;
  struct Slice {
    std::int32_t first, rows;  // of one segment; 0 rows: none
  };
  struct Group {
    Slice slices[slices_per_group];  // NOLINT: kernels read it
    std::int32_t keys_begin, keys_end;
  };
  // `count` tokens in ascending order, the last of them first + count - 1: gathered[gathered ..], or, below 0, first and
  // those behind it. Of those not after itself, a row sees those whose bits are set in its slice's two words from
  // seen[seen + 2 · slice] on, or, below 0, all.
  struct GroupKeys {
    std::int32_t first, count, gathered, seen;
    bool operator==(const GroupKeys&) const = default;
  };

  std::vector<Tile> tiles;
  std::vector<Keys> keys;
  std::vector<Run> runs;
  std::vector<Group> groups;
  std::vector<GroupKeys> group_keys;
  std::vector<std::int32_t> gathered, seen;

  explicit AttentionTiles(const Forest& forest);
  // All lists, one after another: what is copied to the GPU.
  std::vector<std::int32_t> words() const;
  std::int64_t bytes() const { return std::ssize(words()) * static_cast<std::int64_t>(sizeof(std::int32_t)); }

 private:
  struct Member;
  void add_groups(const Forest& forest);
  void add_group(const std::vector<Member>& members, const std::vector<Forest::Range>& all);
  GroupKeys gather(const std::vector<Member>& members, const std::vector<std::int32_t>& tokens);
  void add_keys(std::int32_t begin, std::int32_t end);
  void add_run(const Run& run, std::int32_t runs_begin);
  void add_runs_of_segments(const Forest& forest, const std::vector<std::int32_t>& first_tile);
};

}  // namespace chorus
