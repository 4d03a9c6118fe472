#include "launch/process/report_error.h"

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <new>
#include <system_error>

#include "ops/base/error.h"
#include "parallel/interruption.h"

namespace chorus {

int report_error(const std::string& who, const std::exception& error) {
  const auto* own = dynamic_cast<const Error*>(&error);
  // What the system refuses is no defect, wherever it was asked.
  const auto* of_files = dynamic_cast<const std::filesystem::filesystem_error*>(&error);
  const bool out_of_memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
  std::fflush(stdout);
  const bool failed = dynamic_cast<const Interrupted*>(&error) == nullptr;
  const std::string line = fmt::format("{}: {}{}\n", who, failed ? "error: " : "",
                                       out_of_memory ? "out of host memory" : error.what());
  std::fwrite(line.data(), 1, line.size(), stderr);  // which may be a terminal that was closed
  std::fflush(stderr);
  if (own != nullptr) return static_cast<int>(own->exit_code());
  if (of_files != nullptr) return static_cast<int>(ExitCode::data);
  return static_cast<int>(out_of_memory ? ExitCode::memory : ExitCode::internal);
}

int finish_streams(const std::string& who, int exit_code) {
  errno = 0;
  const bool flushed = std::fflush(stdout) == 0;
  if (exit_code != static_cast<int>(ExitCode::done)) return exit_code;
  if (std::ferror(stdin) != 0)  // which std::cin takes for the end
    return report_error(who, DataError("the standard input could not be read to its end"));
  if (flushed && std::ferror(stdout) == 0) return exit_code;
  const std::string reason = errno == 0 ? "" : ": " + std::generic_category().message(errno);
  return report_error(who, DataError("the standard output could not be written to" + reason));
}

}  // namespace chorus
