#include "parallel/start_watch.h"

#include <atomic>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace chorus {
namespace {

using testing::HasSubstr;

TEST(StartWatch, SaysThatItWaitsAndEndsAtTheLimit) {
  std::vector<std::string> said;
  std::atomic<bool> ended = false;
  {
    const StartWatch watch(
        {.warning = 0.02, .end = 0.06}, [&](const std::string& line) { said.push_back(line); },
        [&] { ended = true; });
    while (!ended) std::this_thread::yield();
  }
  ASSERT_EQ(said.size(), 3U);
  EXPECT_THAT(said[0], HasSubstr("has waited in MPI_Init for 0.02 s"));
  EXPECT_THAT(said[0], Not(HasSubstr("exit code")));
  EXPECT_THAT(said[2], HasSubstr("ends with exit code 5"));
}

TEST(StartWatch, SaysNothingOfAStartInTime) {
  bool said = false;
  {
    const StartWatch watch(
        {.warning = 600, .end = 0}, [&](const std::string&) { said = true; }, [] {});
  }
  EXPECT_FALSE(said);
}

}  // namespace
}  // namespace chorus
