#include "launch/process/runtime.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <optional>
#include <thread>

#include <sched.h>
#include <unistd.h>

#include "launch/process/report_error.h"
#include "launch/process/stop_signals.h"
#include "ops/checked_backend.h"
#include "parallel/host_values.h"
#include "parallel/interruption.h"
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

// The ranks' answers may differ where some machines have a GPU and others not.
bool use_gpu(DeviceKind kind, const Groups& host) {
  if (kind != DeviceKind::automatic) return kind == DeviceKind::cuda;
  std::vector<std::int32_t> found(static_cast<std::size_t>(host.world.size()));
  found[static_cast<std::size_t>(host.world.rank())] = has_gpu() ? 1 : 0;
  host.world.all_gather(Tensor(DType::i32, {host.world.size(), 1}, found.data()));
  const auto odd =
      std::find_if(found.begin(), found.end(), [&](std::int32_t one) { return one != found[0]; });
  require<ConfigurationError>(odd == found.end(), "rank ", found[0] == 1 ? 0 : odd - found.begin(),
                              " has a GPU, rank ", found[0] == 1 ? odd - found.begin() : 0,
                              " has none: choose --device cpu, or machines with GPUs only");
  return found[0] == 1;
}

class RankRuntime : public Runtime {
 public:
  RankRuntime(const RuntimeOptions& options, const SharedFacts& facts, const MpiSession* session)
      : session_(session),
        grid_(session == nullptr ? nullptr : session->make_groups(options.tensor_parallel)),
        device_(open_device(options, facts, session)),
        backend_(device_->backend()),
        groups_(device_->groups(), &activity()),
        console_(session != nullptr && session->rank() != 0) {}

  Backend& backend() override { return backend_; }
  TimedGroups& groups() override { return groups_; }
  std::unique_ptr<StreamClock> stream_clock() override { return device_->stream_clock(); }
  Console& console() override { return console_; }
  Activity& activity() override { return session_ == nullptr ? alone_ : session_->activity(); }
  std::string gpu_name() const override { return device_->gpu_name(); }
  bool computes_in_host_memory() const override { return device_->computes_in_host_memory(); }
  std::int64_t memory_in_use() const override { return device_->memory_in_use(); }
  bool stop_requested() override {
    const bool here = chorus::stop_requested();
    if (session_ == nullptr) return here;
    if (here) session_->notify_all();
    return session_->notified();
  }
  std::string text_of_first(const std::string& text) override {
    if (!grid_) return text;
    const Activity::In waiting(&activity(), "text_of_first");
    return gather_texts(grid_->groups().world, is_first() ? text : "").front();
  }
  std::string description(DType precision) const override {
    const ProcessGrid& grid = groups_.grid();
    return fmt::format("{} {} = data {} x tensor {}, {} each", grid.size(),
                       grid.size() == 1 ? "rank" : "ranks", grid.data_size, grid.tensor_size,
                       device_->description(precision));
  }

 private:
  std::unique_ptr<Device> open_device(const RuntimeOptions& options, const SharedFacts& facts,
                                      const MpiSession* session) {
    const NodePlace place =
        session == nullptr ? NodePlace{} : NodePlace{session->node_rank(), session->node_size()};
    const Groups host =
        grid_ ? grid_->groups() : Groups{make_grid(1, options.tensor_parallel, 0), solo_, solo_, solo_};
    require_same_on_all_ranks(facts, host.world);
    if (use_gpu(options.device, host)) return open_gpu(place, host);
    return open_cpu(options.threads > 0 ? options.threads : default_threads(place.size), host);
  }

  const MpiSession* session_;
  Activity alone_;
  IdleCommunicator solo_;
  std::unique_ptr<MpiSession::Grid> grid_;
  std::unique_ptr<Device> device_;
  CheckedBackend backend_;
  TimedGroups groups_;
  Console console_;
};

// srun without a plugin that Open MPI knows starts as many programs that know nothing of each other, and all of them
// would write to the same files. Ranks of mpirun inside a job have their number from mpirun.
void check_not_alone_among_many(const std::optional<MpiSession>& session) {
  if (std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr && std::getenv("PMIX_RANK") == nullptr) return;
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  if (tasks == nullptr || (session && session->size() > 1)) return;
  require<ConfigurationError>(
      std::atoi(tasks) <= 1, "srun started ", tasks,
      " tasks that do not find each other: use srun --mpi=pmix (srun --mpi=list tells "
      "what there is), or mpirun inside the job");
}

// Other ranks usually find the same error: they leave the first one time to print it and to end them.
[[noreturn]] void abort_all(const MpiSession& session, const std::string& command,
                            const std::exception& error) {
  if (session.rank() != 0) std::this_thread::sleep_for(std::chrono::seconds(3));
  const std::string who =
      session.rank() == 0 ? command : fmt::format("{} (rank {})", command, session.rank());
  session.abort(report_error(who, error));
}

// Of a run that stands still.
std::function<void(const std::string&)> say_as(const std::string& command) {
  return [command](const std::string& what) {
    const std::string line = fmt::format("{}: {}\n", command, what);
    std::fwrite(line.data(), 1, line.size(), stderr);
    std::fflush(stderr);
  };
}

void watch(const MpiSession& session, double hang_limit, const std::string& command) {
  HangLimits limits{.end = hang_limit};
  if (hang_limit > 0) limits.warning = std::min(limits.warning, hang_limit / 2);
  session.watch(limits, say_as(command));
}

}  // namespace

ExitCode run_on_ranks(const std::string& command,
                      const std::function<ExitCode(const MakeRuntime& make_runtime)>& body) {
  std::optional<MpiSession> session;
  if (started_by_mpi()) session.emplace(say_as(command));
  try {
    check_not_alone_among_many(session);
    return body([&](const RuntimeOptions& options, const SharedFacts& facts) -> std::unique_ptr<Runtime> {
      if (!session) return std::make_unique<RankRuntime>(options, facts, nullptr);
      watch(*session, options.hang_limit, command);
      const Activity::In start(&session->activity(), "the start of all ranks");
      return std::make_unique<RankRuntime>(options, facts, &*session);
    });
  } catch (const Interrupted& interruption) {
    // All ranks are here, or those that are not will be: nothing is to be ended.
    if (session && session->rank() != 0) return interruption.exit_code();
    throw;
  } catch (const std::exception& error) {
    if (session && session->size() > 1) abort_all(*session, command, error);
    throw;
  }
}

void require_one_rank(const std::string& command) {
  const char* ranks = std::getenv("OMPI_COMM_WORLD_SIZE");
  require<ConfigurationError>(ranks == nullptr || std::atoi(ranks) <= 1, command,
                              " works on one rank, and mpirun started ", ranks,
                              ": start it without a launcher");
}

}  // namespace chorus
