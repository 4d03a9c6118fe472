#include "launch/process/report_error.h"

#include <cstdio>
#include <new>

#include "ops/base/error.h"
#include "parallel/interruption.h"

namespace chorus {

int report_error(const std::string& who, const std::exception& error) {
  const auto* own = dynamic_cast<const Error*>(&error);
  const bool out_of_memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
  std::fflush(stdout);
  const bool failed = dynamic_cast<const Interrupted*>(&error) == nullptr;
  const std::string line = fmt::format("{}: {}{}\n", who, failed ? "error: " : "",
                                       out_of_memory ? "out of host memory" : error.what());
  std::fwrite(line.data(), 1, line.size(), stderr);  // which may be a terminal that was closed
  std::fflush(stderr);
  if (own != nullptr) return static_cast<int>(own->exit_code());
  return static_cast<int>(out_of_memory ? ExitCode::memory : ExitCode::internal);
}

}  // namespace chorus
