#include "launch/runtime.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <optional>
#include <thread>

#include <sched.h>
#include <unistd.h>

#include "launch/report_error.h"
#include "ops/checked_backend.h"
#include "ops/cpu/cpu_backend.h"
#include "parallel/mpi_session.h"

namespace chorus {

namespace {

// The cores this process may use, shared with the other ranks of the machine unless the launcher has bound
// it.
int default_threads(int ranks_on_node) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const int online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  const int cores = sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : online;
  return std::max(1, cores < online ? cores : cores / ranks_on_node);
}

class CpuRuntime : public Runtime {
 public:
  CpuRuntime(const RuntimeOptions& options, const MpiSession* session)
      : threads_(options.threads > 0 ? options.threads
                                     : default_threads(session == nullptr ? 1 : session->node_size())),
        cpu_(threads_),
        backend_(cpu_),
        grid_(session == nullptr ? nullptr : session->make_groups(options.tensor_parallel)),
        groups_(grid_ ? grid_->groups()
                      : Groups{make_grid(1, options.tensor_parallel, 0), solo_, solo_, solo_}),
        console_(session != nullptr && session->rank() != 0) {}

  Backend& backend() override { return backend_; }
  TimedGroups& groups() override { return groups_; }
  Console& console() override { return console_; }
  std::string description() const override {
    const ProcessGrid& grid = groups_.grid();
    return fmt::format("{} {} = data {} x tensor {}, {} CPU {} each", grid.size(),
                       grid.size() == 1 ? "rank" : "ranks", grid.data_size, grid.tensor_size, cpu_.threads(),
                       cpu_.threads() == 1 ? "thread" : "threads");
  }

 private:
  int threads_;
  CpuBackend cpu_;
  CheckedBackend backend_;
  IdleCommunicator solo_;
  std::unique_ptr<MpiSession::Grid> grid_;
  TimedGroups groups_;
  Console console_;
};

// Other ranks usually find the same error: they leave the first one time to print it and to end them.
[[noreturn]] void abort_all(const MpiSession& session, const std::string& command,
                            const std::exception& error) {
  if (session.rank() != 0) std::this_thread::sleep_for(std::chrono::seconds(3));
  const std::string who =
      session.rank() == 0 ? command : fmt::format("{} (rank {})", command, session.rank());
  session.abort(report_error(who, error));
}

}  // namespace

int run_on_ranks(const std::string& command,
                 const std::function<int(const MakeRuntime& make_runtime)>& body) {
  std::optional<MpiSession> session;
  if (started_by_mpi()) session.emplace();
  try {
    return body([&](const RuntimeOptions& options) -> std::unique_ptr<Runtime> {
      return std::make_unique<CpuRuntime>(options, session ? &*session : nullptr);
    });
  } catch (const std::exception& error) {
    if (session && session->size() > 1) abort_all(*session, command, error);
    throw;
  }
}

}  // namespace chorus
