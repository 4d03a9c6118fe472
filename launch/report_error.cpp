#include "launch/report_error.h"

#include <cstdio>
#include <new>

#include "core/interruption.h"
#include "ops/error.h"

namespace chorus {

int report_error(const std::string& who, const std::exception& error) {
  const auto* own = dynamic_cast<const Error*>(&error);
  const bool out_of_memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
  std::fflush(stdout);
  const bool failed = dynamic_cast<const Interrupted*>(&error) == nullptr;
  fmt::print(stderr, "{}: {}{}\n", who, failed ? "error: " : "",
             out_of_memory ? "out of host memory" : error.what());
  std::fflush(stderr);
  if (own != nullptr) return static_cast<int>(own->exit_code());
  return static_cast<int>(out_of_memory ? ExitCode::memory : ExitCode::internal);
}

}  // namespace chorus
