#include "launch/process/report_error.h"

#include <filesystem>
#include <new>
#include <system_error>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"

namespace chorus {
namespace {

using testing::HasSubstr;

// What is said of an error, and its exit code.
std::pair<std::string, ExitCode> reported(const std::exception& error) {
  testing::internal::CaptureStderr();
  const ExitCode code = report_error("chorus test", error);
  return {testing::internal::GetCapturedStderr(), code};
}

TEST(ReportError, WhatTheSystemRefusesIsNoDefect) {
  const std::error_code again = std::make_error_code(std::errc::resource_unavailable_try_again);
  const auto [threads, of_threads] = reported(std::system_error(again, "thread"));
  EXPECT_THAT(threads, HasSubstr("chorus test: error: the system starts no more threads"));
  EXPECT_EQ(of_threads, ExitCode::memory);
  const auto [file, of_file] = reported(std::filesystem::filesystem_error("status", "some/file", again));
  EXPECT_THAT(file, HasSubstr("some/file"));
  EXPECT_EQ(of_file, ExitCode::data);
  EXPECT_EQ(reported(std::bad_alloc()).second, ExitCode::memory);
}

TEST(ReportError, OwnErrorsSayWhoseTheyAreAndOthersAreDefects) {
  EXPECT_EQ(reported(DataError("x")), (std::pair{std::string("chorus test: error: x\n"), ExitCode::data}));
  EXPECT_EQ(reported(std::logic_error("x")).second, ExitCode::internal);
}

}  // namespace
}  // namespace chorus
