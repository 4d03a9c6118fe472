// What once was a defect stays mended, and the seeds are still read: without a fuzzer.

#include <algorithm>
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/fuzz/target.h"
#include "tests/support/scratch.h"

namespace chorus::fuzz {

void PrintTo(const Target& target, std::ostream* out) { *out << target.name; }

class Fuzz : public testing::TestWithParam<Target> {};

TEST_P(Fuzz, SeedsAreRead) {
  const std::vector<std::string> seeds = GetParam().seeds();
  EXPECT_TRUE(std::ranges::any_of(seeds, [](const std::string& seed) {
    return is_accepted(GetParam(), seed);
  })) << "all are refused";
}

TEST_P(Fuzz, DefectsStayMended) {
  const std::filesystem::path folder = source_folder() / "tests/fuzz/regressions" / GetParam().name;
  if (!std::filesystem::exists(folder)) return;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(entry.path().string());
    EXPECT_NO_THROW(is_accepted(GetParam(), test::read_bytes(entry.path())));
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Fuzz, testing::ValuesIn(all_targets()), [](const auto& info) {
  std::string name = info.param.name;
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST(FuzzRegressions, EachBelongsToATarget) {
  for (const auto& entry : std::filesystem::directory_iterator(source_folder() / "tests/fuzz/regressions")) {
    const std::string name = entry.path().filename();
    EXPECT_EQ(std::ranges::count(all_targets(), name, &Target::name), 1) << entry.path();
  }
}

}  // namespace chorus::fuzz
