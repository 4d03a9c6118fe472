#include "launch/process/lost_file.h"

#include <csignal>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "data/text/files.h"
#include "ops/base/error.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

void cut_and_read(const MappedFile& file) {
  explain_lost_files();
  std::filesystem::resize_file(file.path(), 0);
  [[maybe_unused]] const volatile std::byte read = file.bytes()[5000];
}

TEST(LostFileDeathTest, IsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TemporaryFolder folder;
  write_text(folder / "other", std::string(9000, 'x'));
  const MappedFile other(folder / "other");
  write_text(folder / "weights", std::string(9000, 'x'));
  MappedFile opened(folder / "weights");
  const MappedFile file = std::move(opened);
  const auto data_code = testing::ExitedWithCode(static_cast<int>(ExitCode::data));
  EXPECT_EXIT(cut_and_read(file), data_code, "chorus: error: .*weights was cut or cannot be read");
  EXPECT_EXIT(std::thread([&] { cut_and_read(file); }).join(), data_code, "weights was cut");
}

TEST(LostFile, OnlyMappedFilesAreKnown) {
  const TemporaryFolder folder;
  write_text(folder / "a", "abc");
  const std::byte* place = nullptr;
  {
    const MappedFile file(folder / "a");
    place = file.bytes().data();
    EXPECT_EQ(mapped_file_at(place + 2), file.path());
    EXPECT_EQ(mapped_file_at(place + 3), nullptr);
    EXPECT_EQ(mapped_file_at(nullptr), nullptr);
  }
  EXPECT_EQ(mapped_file_at(place), nullptr);
}

}  // namespace
}  // namespace chorus
