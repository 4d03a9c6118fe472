#include "parallel/start_watch.h"

#include <chrono>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/base/host_name.h"

namespace chorus {

namespace {

// As the launcher counts it; MPI cannot be asked yet.
std::string own_name() {
  const std::string host = host_name();
  for (const char* variable : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK"}) {
    if (const char* rank = std::getenv(variable)) return fmt::format("rank {} (host {})", rank, host);
  }
  return fmt::format("a rank on host {}", host);
}

}  // namespace

StartWatch::StartWatch(HangLimits limits, std::function<void(const std::string&)> say,
                       std::function<void()> end)
    : thread_([this, limits, say = std::move(say), end = std::move(end)] { run(limits, say, end); }) {}

StartWatch::~StartWatch() {
  {
    const std::lock_guard lock(mutex_);
    has_started_ = true;
  }
  started_.notify_one();
  thread_.join();
}

void StartWatch::run(HangLimits limits, const std::function<void(const std::string&)>& say,
                     const std::function<void()>& end) {
  using Seconds = std::chrono::duration<double>;
  std::unique_lock lock(mutex_);
  for (double waited = limits.warning;; waited += limits.warning) {
    if (started_.wait_for(lock, Seconds(limits.warning), [&] { return has_started_; })) return;
    const bool ends = limits.end > 0 && waited >= limits.end;
    say(
        fmt::format("{} has waited in MPI_Init for {:g} s: a rank, or the launcher, did not start, or has "
                    "ended; look at its machine, and start all of them again{}",
                    own_name(), waited,
                    ends ? fmt::format(": ends with exit code {}", static_cast<int>(ExitCode::hang)) : ""));
    if (ends) return end();
  }
}

}  // namespace chorus
