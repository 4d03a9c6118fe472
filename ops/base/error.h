#pragma once

#include <cstdint>
#include <iterator>
#include <source_location>
#include <stdexcept>
#include <string>

#include <fmt/format.h>

namespace chorus {

// What the process returns to the shell. Scripts and schedulers tell failures apart by these.
enum class ExitCode : int {
  done = 0,
  internal = 1,       // a broken promise inside Chorus
  configuration = 2,  // an option, or options that do not fit together
  data = 3,           // a file that is missing, malformed, truncated or does not belong to the others
  memory = 4,         // something did not fit
  hang = 5,           // another rank stopped answering
  preempted = 6,      // stopped by a signal or --max-time, after saving a checkpoint
};

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, ExitCode exit_code = ExitCode::internal)
      : std::runtime_error(message), exit_code_(exit_code) {}
  ExitCode exit_code() const { return exit_code_; }

 private:
  ExitCode exit_code_;
};

struct ConfigurationError : Error {
  explicit ConfigurationError(const std::string& message) : Error(message, ExitCode::configuration) {}
};
struct DataError : Error {
  explicit DataError(const std::string& message) : Error(message, ExitCode::data) {}
};
struct MemoryError : Error {
  explicit MemoryError(const std::string& message) : Error(message, ExitCode::memory) {}
};

// A condition that remembers where it was written, so that require() needs no macro.
struct Condition {
  template <typename T>
  Condition(T&& value, std::source_location where = std::source_location::current())
      : holds(static_cast<bool>(value)), where(where) {}
  bool holds;
  std::source_location where;
};

// Throws E with the parts written one after another unless the condition holds. A plain Error also names the
// place in the source: it means a defect of Chorus, whereas the derived ones speak to the user.
template <typename E = Error, typename... Parts>
void require(const Condition& condition, const Parts&... parts) {
  if (condition.holds) return;
  fmt::memory_buffer text;
  (fmt::format_to(std::back_inserter(text), "{}", parts), ...);
  if constexpr (std::is_same_v<E, Error>) {
    fmt::format_to(std::back_inserter(text), " [{}:{}]", condition.where.file_name(), condition.where.line());
  }
  throw E(fmt::to_string(text));
}

}  // namespace chorus
