#include "ops/attention_tiles.h"

#include <set>

#include <gmock/gmock.h>

#include "ops/base/random.h"
#include "tests/ops/forests.h"

namespace chorus {
namespace {

using Pairs = std::vector<std::vector<int>>;  // [N, N]: how often query n meets key j

Pairs no_pairs(const Forest& forest) {
  const auto tokens = static_cast<std::size_t>(forest.tokens);
  return Pairs(tokens, std::vector<int>(tokens));
}
int& pair(Pairs& pairs, std::int32_t query, std::int32_t key) {
  return pairs[static_cast<std::size_t>(query)][static_cast<std::size_t>(key)];
}
const Segment& segment(const Forest& forest, std::int32_t index) {
  return forest.segments[static_cast<std::size_t>(index)];
}

// By the definition of a segment: its own tokens causally, then what it sees of its parent, and so on.
Pairs visible_pairs(const Forest& forest) {
  Pairs pairs = no_pairs(forest);
  for (const Segment& s : forest.segments) {
    for (std::int32_t n = s.first; n < s.first + s.length; ++n) {
      for (std::int32_t j = s.first; j <= n; ++j) pair(pairs, n, j) = 1;
      for (const Segment* child = &s; child->parent >= 0; child = &segment(forest, child->parent)) {
        const std::int32_t first = segment(forest, child->parent).first;
        for (std::int32_t j = first; j < first + child->branch; ++j) pair(pairs, n, j) = 1;
      }
    }
  }
  return pairs;
}

Pairs pairs_by_queries(const Forest& forest, const AttentionTiles& lists) {
  Pairs pairs = no_pairs(forest);
  for (const AttentionTiles::Tile& tile : lists.tiles) {
    for (std::int32_t t = tile.keys_begin; t < tile.keys_end; ++t) {
      const AttentionTiles::Keys keys = lists.keys[static_cast<std::size_t>(t)];
      for (std::int32_t n = tile.first; n < tile.first + tile.rows; ++n) {
        for (std::int32_t j = keys.first; j < keys.first + keys.count && j <= n; ++j) ++pair(pairs, n, j);
      }
    }
  }
  return pairs;
}

Pairs pairs_by_keys(const Forest& forest, const AttentionTiles& lists) {
  Pairs pairs = no_pairs(forest);
  for (const AttentionTiles::Tile& keys : lists.tiles) {
    for (std::int32_t r = keys.runs_begin; r < keys.runs_end; ++r) {
      const AttentionTiles::Run run = lists.runs[static_cast<std::size_t>(r)];
      for (std::int32_t t = run.begin; t < run.end; ++t) {
        const AttentionTiles::Tile& queries = lists.tiles[static_cast<std::size_t>(t)];
        for (std::int32_t n = queries.first; n < queries.first + queries.rows; ++n) {
          for (std::int32_t j = keys.first; j < keys.first + run.visible && j <= n; ++j) ++pair(pairs, n, j);
        }
      }
    }
  }
  return pairs;
}

std::int32_t token_of(const AttentionTiles& lists, const AttentionTiles::GroupKeys& keys,
                      std::int32_t column) {
  return keys.gathered < 0 ? keys.first + column
                           : lists.gathered[static_cast<std::size_t>(keys.gathered + column)];
}
bool sees(const AttentionTiles& lists, const AttentionTiles::GroupKeys& keys, std::int32_t slice,
          std::int32_t column) {
  if (keys.seen < 0) return true;
  const std::int32_t word = lists.seen[static_cast<std::size_t>(keys.seen + 2 * slice + column / 32)];
  return (static_cast<std::uint32_t>(word) >> (column % 32) & 1) != 0;
}

Pairs pairs_by_groups(const Forest& forest, const AttentionTiles& lists) {
  Pairs pairs = no_pairs(forest);
  for (const AttentionTiles::Group& group : lists.groups) {
    for (std::int32_t w = 0; w < AttentionTiles::slices_per_group; ++w) {
      const AttentionTiles::Slice slice = group.slices[w];
      EXPECT_LE(slice.rows, AttentionTiles::rows_per_slice);
      for (std::int32_t t = group.keys_begin; t < group.keys_end; ++t) {
        const AttentionTiles::GroupKeys& keys = lists.group_keys[static_cast<std::size_t>(t)];
        EXPECT_EQ(token_of(lists, keys, keys.count - 1), keys.first + keys.count - 1);
        for (std::int32_t c = 0; c < keys.count; ++c) {
          const std::int32_t token = token_of(lists, keys, c);
          for (std::int32_t n = std::max(slice.first, token); n < slice.first + slice.rows; ++n)
            if (sees(lists, keys, w, c)) ++pair(pairs, n, token);
        }
      }
    }
  }
  return pairs;
}

std::vector<std::int32_t> keys_of(const AttentionTiles& lists, const AttentionTiles::KeySlice& slice) {
  std::vector<std::int32_t> keys;
  for (std::int32_t row = 0; row < slice.rows; ++row) {
    const std::int32_t listed = slice.gathered + row;
    keys.push_back(slice.gathered < 0 ? slice.first + row : lists.gathered[static_cast<std::size_t>(listed)]);
  }
  return keys;
}
std::vector<std::int32_t> queries_of(const AttentionTiles& lists, const AttentionTiles::GroupQueries& tile) {
  return keys_of(lists, {tile.first, tile.count, tile.gathered});
}

// How many keys of a slice of the group the query in a column of tile t sees.
std::int32_t visible_keys(const AttentionTiles& lists, const AttentionTiles::KeyGroup& group, std::int32_t t,
                          std::size_t column, std::size_t slice) {
  if (t < group.masked_begin) return group.slices[slice].rows;
  const auto masks =
      static_cast<std::size_t>(group.masks + AttentionTiles::rows_per_tile * (t - group.masked_begin));
  const auto word = static_cast<std::uint32_t>(lists.visible[masks + column]);
  return static_cast<std::int32_t>(word >> (8 * slice) & 0xff);
}

Pairs pairs_by_key_groups(const Forest& forest, const AttentionTiles& lists) {
  Pairs pairs = no_pairs(forest);
  std::vector<int> in_slices(static_cast<std::size_t>(forest.tokens));
  for (const AttentionTiles::KeyGroup& group : lists.key_groups) {
    for (const AttentionTiles::KeySlice& slice : group.slices)
      for (const std::int32_t key : keys_of(lists, slice)) ++in_slices[static_cast<std::size_t>(key)];
    std::set<std::int32_t> queries;
    for (std::int32_t t = group.queries_begin; t < group.queries_end; ++t) {
      const std::vector<std::int32_t> tile =
          queries_of(lists, lists.group_queries[static_cast<std::size_t>(t)]);
      EXPECT_TRUE(std::is_sorted(tile.begin(), tile.end()));
      EXPECT_THAT(tile, ::testing::SizeIs(::testing::Le(AttentionTiles::rows_per_tile)));
      for (std::size_t c = 0; c < tile.size(); ++c) {
        EXPECT_TRUE(queries.insert(tile[c]).second);
        std::int32_t all_seen = 0;
        for (std::size_t s = 0; s < AttentionTiles::slices_per_group; ++s) {
          const std::vector<std::int32_t> keys = keys_of(lists, group.slices[s]);
          EXPECT_THAT(keys, ::testing::SizeIs(::testing::Le(AttentionTiles::rows_per_slice)));
          const std::int32_t seen = visible_keys(lists, group, t, c, s);
          EXPECT_LE(seen, std::ssize(keys));
          all_seen += seen;
          for (std::int32_t k = 0; k < std::min<std::int64_t>(seen, std::ssize(keys)); ++k)
            ++pair(pairs, tile[c], keys[static_cast<std::size_t>(k)]);
        }
        EXPECT_GT(all_seen, 0) << "query " << tile[c] << " is gathered in vain";
      }
      for (std::size_t c = tile.size(); c < AttentionTiles::rows_per_tile; ++c) {
        if (t >= group.masked_begin) {
          EXPECT_EQ(visible_keys(lists, group, t, c, 0), 0);
        }
      }
    }
  }
  EXPECT_THAT(in_slices, ::testing::Each(1));
  return pairs;
}

// The softmax of a row begins with a key that it sees.
void expect_first_keys_seen(const AttentionTiles& lists) {
  for (const AttentionTiles::Group& group : lists.groups) {
    for (std::int32_t w = 0; w < AttentionTiles::slices_per_group; ++w) {
      std::int32_t first_seen = -1;
      for (std::int32_t t = group.keys_begin; t < group.keys_end && first_seen < 0; ++t) {
        const AttentionTiles::GroupKeys& keys = lists.group_keys[static_cast<std::size_t>(t)];
        for (std::int32_t c = keys.count - 1; c >= 0; --c)
          if (sees(lists, keys, w, c)) first_seen = token_of(lists, keys, c);
      }
      if (group.slices[w].rows > 0) {
        EXPECT_LE(first_seen, group.slices[w].first);
      }
    }
  }
}

// Nobody meets a tile in vain, and the first key that a tile of queries meets is seen by all its rows.
void expect_no_vain_meetings(const AttentionTiles& lists) {
  for (const AttentionTiles::Tile& tile : lists.tiles) {
    EXPECT_THAT(tile.rows, ::testing::AllOf(::testing::Gt(0), ::testing::Le(AttentionTiles::rows_per_tile)));
    ASSERT_LT(tile.keys_begin, tile.keys_end);
    EXPECT_LE(lists.keys[static_cast<std::size_t>(tile.keys_begin)].first, tile.first);
    for (std::int32_t t = tile.keys_begin; t < tile.keys_end; ++t) {
      const AttentionTiles::Keys keys = lists.keys[static_cast<std::size_t>(t)];
      EXPECT_THAT(keys.count,
                  ::testing::AllOf(::testing::Gt(0), ::testing::Le(AttentionTiles::rows_per_tile)));
      EXPECT_LT(keys.first, tile.first + tile.rows);
    }
    for (std::int32_t r = tile.runs_begin; r < tile.runs_end; ++r) {
      const AttentionTiles::Run run = lists.runs[static_cast<std::size_t>(r)];
      EXPECT_LT(run.begin, run.end);
      EXPECT_THAT(run.visible, ::testing::AllOf(::testing::Gt(0), ::testing::Le(tile.rows)));
    }
  }
}

void expect_exact(const NamedForest& example) {
  SCOPED_TRACE(example.name);
  const AttentionTiles lists(example.forest);
  const Pairs visible = visible_pairs(example.forest);
  EXPECT_TRUE(pairs_by_queries(example.forest, lists) == visible);
  EXPECT_TRUE(pairs_by_keys(example.forest, lists) == visible);
  EXPECT_TRUE(pairs_by_groups(example.forest, lists) == visible);
  EXPECT_TRUE(pairs_by_key_groups(example.forest, lists) == visible);
  expect_first_keys_seen(lists);
  expect_no_vain_meetings(lists);
}

TEST(AttentionTilesTest, MeetEveryVisiblePairOnce) {
  for (const NamedForest& example : example_forests()) expect_exact(example);
  for (const NamedForest& example : deep_forests()) expect_exact(example);
}

TEST(AttentionTilesTest, MeetEveryVisiblePairOfRandomForestsOnce) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    std::uint64_t drawn = 0;
    const auto below = [&](std::int32_t bound) {
      const std::uint32_t word = random_word(seed, RandomUse::initial_value, 0, drawn++);
      return static_cast<std::int32_t>(word % static_cast<std::uint32_t>(bound));
    };
    std::vector<Piece> pieces;
    const std::int32_t segments = 1 + below(9);
    for (std::int32_t i = 0; i < segments; ++i) {
      const std::int32_t length = 1 + below(below(2) == 0 ? 8 : 140), parent = below(i + 1) - 1;
      const std::int32_t branch = parent < 0 ? 0 : 1 + below(pieces[static_cast<std::size_t>(parent)].length);
      pieces.push_back({length, parent, branch});
    }
    expect_exact({"seed " + std::to_string(seed), forest_of(pieces)});
  }
}

TEST(AttentionTilesTest, ASequenceHasOneListOfKeys) {
  const AttentionTiles lists(single_sequence(64 * 1000));
  EXPECT_EQ(lists.tiles.size(), 1000U);
  EXPECT_EQ(lists.keys.size(), 1000U);
  EXPECT_EQ(lists.runs.size(), 1000U);
  EXPECT_EQ(lists.groups.size(), 1000U);
  EXPECT_EQ(lists.group_keys.size(), 1000U);
  EXPECT_EQ(lists.key_groups.size(), 1000U);
  EXPECT_EQ(lists.group_queries.size(), 1000U);
  EXPECT_EQ(lists.visible.size(), 1000U * 64);  // its own queries do not see all of a group
  EXPECT_TRUE(lists.gathered.empty() && lists.seen.empty());
  EXPECT_EQ(lists.words().size(), 1000U * (6 + 2 + 3 + 10 + 4 + 16 + 3 + 64));
}

// A dialogue of 20 tokens a turn, each turn with an answer of 12: tiles are filled by relatives.
TEST(AttentionTilesTest, RelativesShareTiles) {
  std::vector<Piece> pieces{{20, -1, 0}};
  for (std::int32_t turn = 0; turn < 32; ++turn) {
    const std::int32_t parent = turn == 0 ? 0 : 2 * turn - 1;
    pieces.push_back({20, parent, 20});
    pieces.push_back({12, parent, 20});
  }
  const Forest forest = forest_of(pieces);
  const AttentionTiles lists(forest);
  constexpr std::int64_t scores = AttentionTiles::rows_per_tile * AttentionTiles::rows_per_tile;
  std::int64_t by_segments = 0, by_groups = 0, by_key_groups = 0;
  for (const auto& tile : lists.tiles) by_segments += scores * (tile.keys_end - tile.keys_begin);
  for (const auto& group : lists.groups) by_groups += scores * (group.keys_end - group.keys_begin);
  for (const auto& group : lists.key_groups)
    by_key_groups += scores * (group.queries_end - group.queries_begin);
  EXPECT_GT(by_segments, 12 * forest.attended_pairs());
  EXPECT_LT(by_groups, 4 * forest.attended_pairs());
  EXPECT_LT(by_key_groups, 2.5 * static_cast<double>(forest.attended_pairs()));
}

// Turns of 20 tokens, of which the last 4 ask and are not gone on from, and an answer beside each: the path of the rest is cut
// without regard to turns.
TEST(AttentionTilesTest, SlicesOfKeysFollowPaths) {
  std::vector<Piece> pieces{{20, -1, 0}};
  for (std::int32_t turn = 1; turn < 16; ++turn) {
    pieces.push_back({3, 2 * turn - 2, 16});
    pieces.push_back({20, 2 * turn - 2, 16});
  }
  const AttentionTiles lists(forest_of(pieces));
  std::int32_t full = 0;
  for (const AttentionTiles::KeyGroup& group : lists.key_groups)
    for (const AttentionTiles::KeySlice& slice : group.slices) full += slice.rows == 16 ? 1 : 0;
  EXPECT_EQ(full, (15 * 16 + 20) / 16);
}

TEST(AttentionTilesTest, RunsOfSiblingsJoin) {
  const AttentionTiles lists(forest_of({{64, -1, 0}, {3, 0, 64}, {70, 0, 64}, {5, 0, 20}, {5, 0, 20}}));
  ASSERT_EQ(lists.tiles[0].runs_end - lists.tiles[0].runs_begin, 2);
  EXPECT_EQ(lists.runs[0].end, 4);
  EXPECT_EQ(lists.runs[1].begin, 4);
  EXPECT_EQ(lists.runs[1].end, 6);
  EXPECT_EQ(lists.runs[1].visible, 20);
}

TEST(AttentionTilesTest, AnEmptyForestHasNoTiles) { EXPECT_TRUE(AttentionTiles(Forest{}).words().empty()); }

}  // namespace
}  // namespace chorus
