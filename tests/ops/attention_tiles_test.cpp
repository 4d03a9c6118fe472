#include "ops/cuda/attention_tiles.h"

#include <gmock/gmock.h>

#include "ops/random.h"
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
  EXPECT_EQ(lists.words().size(), 1000U * (6 + 2 + 3));
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
