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

  // The kernel of dk and dv, which works by keys, takes groups of slices of keys that nearly the same queries see, and tiles
  // of those queries. A slice follows a path (forest_paths.h), so that it is full where segments are short, and a query sees
  // the beginning of it.
  struct KeySlice {
    std::int32_t first, rows, gathered;  // 0 rows: none; tokens as in GroupQueries
  };
  // The queries of the tiles group_queries[queries_begin .. masked_begin) see all keys of the group. Those of the tiles t up to
  // queries_end have a word each, from visible[masks + rows_per_tile · (t - masked_begin)] on: byte s of it is how many keys of
  // slice s the query sees.
  struct KeyGroup {
    KeySlice slices[slices_per_group];  // NOLINT: kernels read it
    std::int32_t queries_begin, masked_begin, queries_end, masks;
  };
  // `count` tokens in ascending order, the first of them first: gathered[gathered ..], or, below 0, first and those behind it.
  struct GroupQueries {
    std::int32_t first, count, gathered;
    bool operator==(const GroupQueries&) const = default;
  };

  std::vector<Tile> tiles;
  std::vector<Keys> keys;
  std::vector<Run> runs;
  std::vector<Group> groups;
  std::vector<GroupKeys> group_keys;
  std::vector<KeyGroup> key_groups;
  std::vector<GroupQueries> group_queries;
  std::vector<std::int32_t> gathered, seen, visible;

  explicit AttentionTiles(const Forest& forest);
  // All lists, one after another: what is copied to the GPU.
  std::vector<std::int32_t> words() const;
  std::int64_t bytes() const { return std::ssize(words()) * static_cast<std::int64_t>(sizeof(std::int32_t)); }

 private:
  struct Member;
  void add_groups(const Forest& forest);
  void add_group(const std::vector<Member>& members, const std::vector<Forest::Range>& all);
  // Where ascending tokens begin in `gathered`, or -1 where they stand together and need not be there.
  std::int32_t gather_unless_run(const std::vector<std::int32_t>& tokens);
  GroupKeys gather(const std::vector<Member>& members, const std::vector<std::int32_t>& tokens);
  struct KeyMember;
  void add_key_groups(const Forest& forest);
  void add_key_group(const std::vector<KeyMember>& members, const std::vector<Forest::Range>& all);
  void add_keys(std::int32_t begin, std::int32_t end);
  void add_run(const Run& run, std::int32_t runs_begin);
  void add_runs_of_segments(const Forest& forest, const std::vector<std::int32_t>& first_tile);
};

}  // namespace chorus
