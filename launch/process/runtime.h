#pragma once

#include <functional>
#include <memory>
#include <string>

#include "launch/process/console.h"
#include "launch/process/device.h"
#include "launch/process/same_on_ranks.h"
#include "ops/backend.h"
#include "ops/base/error.h"
#include "parallel/hang_judge.h"
#include "parallel/timed_communicator.h"

namespace chorus {

// More than any machine has, and than its system would start.
inline constexpr int most_threads = 4096;

// The options of every command that computes.
struct RuntimeOptions {
  DeviceKind device = DeviceKind::automatic;
  int tensor_parallel = 1;
  int threads = 0;                       // per rank on a CPU; 0: its share of the cores
  double hang_limit = usual_hang_limit;  // seconds without progress of any rank after which all end; 0: never
};

// What a rank computes with. The backend checks the contract of every call.
class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual Backend& backend() = 0;
  virtual TimedGroups& groups() = 0;
  virtual std::unique_ptr<StreamClock> stream_clock() = 0;     // of Device
  virtual Console& console() = 0;                              // quiet on all ranks but the first
  virtual std::string description(DType precision) const = 0;  // one line: ranks, grid, devices
  virtual std::string gpu_name() const = 0;                    // of Device
  virtual bool computes_in_host_memory() const = 0;            // of Device
  virtual std::int64_t memory_in_use() const = 0;              // of Device
  // Whether a signal asked this rank or another to stop. Not collective; others may hear of it later.
  virtual bool stop_requested() = 0;

  // What the first rank gives, on all of them. Collective; through host memory.
  virtual std::string text_of_first(const std::string& text) = 0;

  // What this rank does, for the others to know where it stands.
  virtual Activity& activity() = 0;

  bool is_first() { return groups().groups().world.rank() == 0; }
};

// The process as one rank of those that mpirun or srun started, or as the only one. `body` receives a function that
// makes the runtime once the options are known; MPI runs already. Before anything else, ranks compare what they should
// have alike. A failure is printed once, by the first rank that has it, and ends all ranks with its exit code.
using MakeRuntime =
    std::function<std::unique_ptr<Runtime>(const RuntimeOptions& options, const SharedFacts& facts)>;
ExitCode run_on_ranks(const std::string& command,
                      const std::function<ExitCode(const MakeRuntime& make_runtime)>& body);

// Throws ConfigurationError where mpirun started several: for what they would do side by side, to the same files.
void require_one_rank(const std::string& command);

}  // namespace chorus
