#include "ops/base/forest.h"

#include <gmock/gmock.h>

#include "ops/base/error.h"
#include "tests/ops/forests.h"

namespace chorus {
namespace {

using ::testing::ElementsAre;

Forest grandparents() { return forest_of({{10, -1, 0}, {6, 0, 4}, {3, 1, 5}, {7, -1, 0}}); }

TEST(ForestTest, AncestorsAreWholeRangesFromTheRootDown) {
  const Forest forest = grandparents();
  EXPECT_THAT(forest.ancestor_ranges(0), ElementsAre());
  EXPECT_THAT(forest.ancestor_ranges(1), ElementsAre(Forest::Range{0, 4}));
  EXPECT_THAT(forest.ancestor_ranges(2), ElementsAre(Forest::Range{0, 4}, Forest::Range{10, 15}));
  EXPECT_THAT(forest.ancestor_ranges(3), ElementsAre());
}

TEST(ForestTest, PositionsFollowDepth) {
  EXPECT_THAT(grandparents().segment_depths(), ElementsAre(0, 4, 9, 0));
  EXPECT_THAT(forest_of({{3, -1, 0}, {2, 0, 1}, {2, 1, 2}}).positions(), ElementsAre(0, 1, 2, 1, 2, 3, 4));
}

TEST(ForestTest, TreesAreCountedByRoots) {
  EXPECT_THAT(grandparents().trees(), ElementsAre(0, 0, 0, 1));
  EXPECT_THAT(forest_of({{2, -1, 0}, {2, -1, 0}, {1, 0, 1}, {1, 1, 2}}).trees(), ElementsAre(0, 1, 0, 1));
}

TEST(ForestTest, AttendedPairsCountWhatEachTokenSees) {
  EXPECT_EQ(single_sequence(5).attended_pairs(), 15);
  // 55 of the root, 6 tokens that see 4 and themselves, 3 that see 9, 28 of the other root.
  EXPECT_EQ(grandparents().attended_pairs(), 55 + 6 * 4 + 21 + 3 * 9 + 6 + 28);
}

std::string refusal(const Forest& forest) {
  try {
    validate(forest);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ForestTest, RefusesWhatIsNoForest) {
  using ::testing::HasSubstr;
  EXPECT_EQ(refusal({{}, 0}), "accepted");
  EXPECT_THAT(refusal({{{0, 0, -1, 0}}, 0}), HasSubstr("segment 0 has length 0"));
  EXPECT_THAT(refusal({{{1, 2, -1, 0}}, 3}), HasSubstr("segment 0 begins at 1 instead of 0"));
  EXPECT_THAT(refusal({{{0, 2, -1, 1}}, 2}), HasSubstr("root segment 0 has branch 1"));
  EXPECT_THAT(refusal({{{0, 2, 0, 1}}, 2}), HasSubstr("segment 0 has parent 0"));
  EXPECT_THAT(refusal({{{0, 2, -1, 0}, {2, 2, 0, 3}}, 4}),
              HasSubstr("segment 1 branches at 3 of a parent of length 2"));
  EXPECT_THAT(refusal({{{0, 2, -1, 0}, {2, 2, 0, 0}}, 4}), HasSubstr("segment 1 branches at 0"));
  EXPECT_THAT(refusal({{{0, 2, -1, 0}}, 5}), HasSubstr("segments cover 2 of 5 tokens"));
}

}  // namespace
}  // namespace chorus
