#include "launch/process/same_on_ranks.h"

#include <mutex>

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "parallel/thread_communicator.h"

namespace chorus {
namespace {

TEST(SameOnRanks, EveryDifferenceIsNamedWithRankAndHost) {
  const RankFacts first{"a", {{"learning-rate", "0.0002"}, {"adapter", ""}, {"seed", "1"}}};
  RankFacts other = first;
  other.host = "b";
  EXPECT_EQ(differences_between_ranks({first, other}), "");
  other.facts = {{"learning-rate", "0.0001"}, {"adapter", "x"}, {"seed", "1"}, {"new", "2"}};
  EXPECT_EQ(
      differences_between_ranks({first, first, other}),
      "rank 2 (host b) has learning-rate 0.0001, rank 0 (host a) has 0.0002; adapter x, rank 0 (host a) "
      "has nothing; new 2, rank 0 (host a) has nothing");
}

TEST(SameOnRanks, ManyAreCounted) {
  std::vector<RankFacts> ranks(12, RankFacts{"b", {{"seed", "2"}}});
  ranks[0] = {"a", {{"seed", "1"}}};
  const std::string text = differences_between_ranks(ranks);
  EXPECT_NE(text.find("rank 8 (host b) has seed 2"), std::string::npos) << text;
  EXPECT_EQ(text.find("rank 9"), std::string::npos) << text;
  EXPECT_NE(text.find("\nand 3 more ranks differ"), std::string::npos) << text;
}

TEST(SameOnRanks, AllRanksAreRefused) {
  int refused = 0;
  std::mutex mutex;
  const auto compare = [&](bool differ) {
    run_on_threads(2, 2, [&](const Groups& groups) {
      const SharedFacts facts{{"prompt", differ && groups.grid.rank == 3 ? "no \xff text" : "text"}};
      try {
        require_same_on_all_ranks(facts, groups.world);
      } catch (const ConfigurationError&) {
        const std::scoped_lock lock(mutex);
        ++refused;
      }
    });
  };
  compare(false);
  EXPECT_EQ(refused, 0);
  compare(true);
  EXPECT_EQ(refused, 4);
}

}  // namespace
}  // namespace chorus
