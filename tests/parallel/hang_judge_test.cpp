#include "parallel/hang_judge.h"

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace chorus {
namespace {

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// What one of three ranks, on the hosts a, b and c, hears of them.
class Watched {
 public:
  explicit Watched(int rank, HangLimits limits = {.warning = 60, .end = 1000}, bool hears = true)
      : judge_(rank, 3, hears, limits, 0) {
    for (int other = 0; other < 3; ++other) goes_on(other, "");
  }

  void goes_on(int rank, const char* collective, const char* phase = "training") {
    Activity::State& state = states_[static_cast<std::size_t>(rank)];
    state = {phase, 7, collective, state.changes + 1};
    hear(rank);
  }
  // So many seconds in which these ranks say every five seconds what they said before. All that is said of it.
  std::vector<std::string> wait(double seconds, const std::vector<int>& alive) {
    std::vector<std::string> lines;
    for (const double end = now_ + seconds; now_ < end && !ended_;) {
      now_ += 5;
      for (const int rank : alive) hear(rank);
      const HangJudge::Verdict verdict = judge_.judge(now_);
      if (!verdict.line.empty()) lines.push_back(verdict.line);
      ended_ = verdict.ends;
    }
    return lines;
  }
  bool has_ended() const { return ended_; }
  double now() const { return now_; }
  void stood_still(double seconds) { judge_.forget_silence(now_ += seconds); }

 private:
  void hear(int rank) {
    const auto i = static_cast<std::size_t>(rank);
    judge_.hear(rank, Heartbeat::of(std::string(1, "abc"[i]), states_[i]), now_);
  }

  HangJudge judge_;
  std::array<Activity::State, 3> states_{};
  double now_ = 0;
  bool ended_ = false;
};

TEST(HangJudge, TheFirstRankNamesWhoIsMissingAndWhereTheOthersWait) {
  Watched watched(0);
  watched.goes_on(0, "all_reduce");
  watched.goes_on(2, "all_reduce");
  const std::vector<std::string> lines = watched.wait(70, {0, 2});
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(
      lines[0],
      "no rank has gone on for 60 s: rank 1 (host b) has not answered for 60 s, last seen training, step "
      "7; ranks 0 (host a), 2 (host c) wait in all_reduce (training, step 7); ends in 940 s "
      "(--hang-limit 1000)");
  EXPECT_EQ(watched.wait(180, {0, 2}).size(), 2U) << "after 120 and 240 seconds";
  watched.goes_on(1, "");
  EXPECT_EQ(watched.wait(10, {0, 1, 2}), std::vector<std::string>{"the ranks go on again"});
  EXPECT_FALSE(watched.has_ended());
}

TEST(HangJudge, ARankThatOnlyComputesIsNamedAsWell) {
  Watched watched(0);
  watched.goes_on(0, "barrier");
  watched.goes_on(1, "barrier");
  const std::vector<std::string> lines = watched.wait(60, {0, 1, 2});
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_TRUE(holds(lines[0], "rank 2 (host c) answers, but is in no collective (training, step 7)"))
      << lines[0];
}

TEST(HangJudge, AtTheLimitTheRunEnds) {
  Watched watched(0);
  watched.goes_on(0, "all_reduce");
  const std::vector<std::string> lines = watched.wait(2000, {0, 2});
  EXPECT_TRUE(watched.has_ended());
  EXPECT_EQ(watched.now(), 1000);
  EXPECT_TRUE(holds(lines.back(), "ends with exit code 5 (--hang-limit 1000)")) << lines.back();
  Watched forever(0, {.warning = 60, .end = 0});
  forever.goes_on(0, "all_reduce");
  EXPECT_TRUE(holds(forever.wait(100000, {0, 2}).back(), "waits on (--hang-limit 0)"));
  EXPECT_FALSE(forever.has_ended());
}

// The second rank hears the same, and speaks where the first does not.
TEST(HangJudge, OnlyOneRankSpeaks) {
  Watched second(1);
  second.goes_on(1, "all_reduce");
  EXPECT_TRUE(second.wait(500, {0, 1}).empty());
  EXPECT_TRUE(holds(second.wait(70, {1, 2}).back(), "rank 0 (host a) has not answered for "));
  second.wait(1000, {1, 2});
  EXPECT_TRUE(second.has_ended());
}

// Others hear of the first rank only, and leave the end to it as long as they do.
TEST(HangJudge, WhoHearsOfNobodyEndsLater) {
  Watched third(2);
  third.goes_on(2, "all_reduce");
  EXPECT_TRUE(third.wait(5000, {0, 2}).empty());
  EXPECT_FALSE(third.has_ended());
  const std::vector<std::string> lines = third.wait(1300, {2});
  EXPECT_TRUE(third.has_ended());
  EXPECT_TRUE(
      holds(lines.back(), "rank 2 (host c) has waited in all_reduce (training, step 7) and heard of no"))
      << lines.back();
  Watched alone(0, {.warning = 60, .end = 1000}, false);
  alone.goes_on(0, "all_reduce");
  EXPECT_EQ(alone.wait(1300, {0}).size(), 1U);
  EXPECT_TRUE(alone.has_ended());
}

// Each rank reads the base: nobody waits for anybody.
TEST(HangJudge, NothingIsSaidOfALongStart) {
  Watched watched(0);
  for (int rank = 0; rank < 3; ++rank) watched.goes_on(rank, "", "");
  EXPECT_TRUE(watched.wait(5000, {0, 1, 2}).empty());
  EXPECT_FALSE(watched.has_ended());
}

TEST(HangJudge, AProcessThatStoodStillItselfBlamesNobody) {
  Watched watched(0);
  watched.goes_on(0, "all_reduce");
  watched.stood_still(5000);
  EXPECT_TRUE(watched.wait(30, {0, 1, 2}).empty());
}

}  // namespace
}  // namespace chorus
