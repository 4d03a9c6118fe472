#include "launch/process/report_error.h"

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <new>
#include <system_error>

#include "parallel/interruption.h"

namespace chorus {

namespace {

struct Reported {
  std::string text;
  ExitCode exit_code;
};

// What the system refuses is no defect, wherever it was asked.
Reported describe(const std::exception& error) {
  if (const auto* own = dynamic_cast<const Error*>(&error)) return {own->what(), own->exit_code()};
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return {"out of host memory", ExitCode::memory};
  if (dynamic_cast<const std::filesystem::filesystem_error*>(&error) != nullptr)
    return {error.what(), ExitCode::data};
  const auto* of_system = dynamic_cast<const std::system_error*>(&error);
  if (of_system != nullptr && of_system->code() == std::errc::resource_unavailable_try_again)
    return {
        "the system starts no more threads: ask for fewer --threads, or raise its limits (ulimit -u and -v)",
        ExitCode::memory};
  return {error.what(), ExitCode::internal};
}

}  // namespace

ExitCode report_error(const std::string& who, const std::exception& error) {
  const Reported reported = describe(error);
  std::fflush(stdout);
  const bool failed = dynamic_cast<const Interrupted*>(&error) == nullptr;
  const std::string line = fmt::format("{}: {}{}\n", who, failed ? "error: " : "", reported.text);
  std::fwrite(line.data(), 1, line.size(), stderr);  // which may be a terminal that was closed
  std::fflush(stderr);
  return reported.exit_code;
}

ExitCode finish_streams(const std::string& who, ExitCode exit_code) {
  errno = 0;
  const bool flushed = std::fflush(stdout) == 0;
  if (exit_code != ExitCode::done) return exit_code;
  if (std::ferror(stdin) != 0)  // which std::cin takes for the end
    return report_error(who, DataError("the standard input could not be read to its end"));
  if (flushed && std::ferror(stdout) == 0) return exit_code;
  const std::string reason = errno == 0 ? "" : ": " + std::generic_category().message(errno);
  return report_error(who, DataError("the standard output could not be written to" + reason));
}

}  // namespace chorus
