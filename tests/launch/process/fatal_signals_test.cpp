#include "launch/process/fatal_signals.h"

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "data/text/files.h"
#include "ops/base/error.h"
#include "ops/base/unchecked_memory.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

void cut_and_read(const MappedFile& file) {
  explain_fatal_signals();
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

// As a library does that got no memory and does not look.
void write_to(std::uintptr_t address, const char* purpose) {
  explain_fatal_signals();
  {
    const UncheckedMemory outer("other things");
    const UncheckedMemory guard(purpose);
    if (purpose != nullptr) *reinterpret_cast<volatile char*>(address) = 0;
  }
  *reinterpret_cast<volatile char*>(address) = 0;
}

TEST(MissingMemoryDeathTest, IsToldOfALibraryOnly) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto memory_code = testing::ExitedWithCode(static_cast<int>(ExitCode::memory));
  const char* message = "chorus: error: the system gives no memory for the tables: raise";
  EXPECT_EXIT(write_to(0, "the tables"), memory_code, message);
  EXPECT_EXIT(std::thread([] { write_to(300'000, "the tables"); }).join(), memory_code, message);
  const auto crashed = testing::KilledBySignal(SIGSEGV);
  EXPECT_EXIT(write_to(0, nullptr), crashed, "");
  EXPECT_EXIT(write_to(std::uintptr_t{1} << 30U, "the tables"), crashed, "");
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
