#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/studies/job.h"
#include "launch/process/console.h"
#include "ops/base/error.h"

namespace chorus {

// What became of a job.
struct JobOutcome {
  enum class State { done, found_done, failed, stopped, not_run };
  State state = State::not_run;
  int exit_code = 0;  // of a failed one; -1: killed by a signal
  double seconds = 0;
  std::string last_lines;  // of a failed one's log; of one that was not run: why
  std::string remark;      // on how a training ended that is done; mostly empty
};

// Whether the job's record says that this very command succeeded.
bool is_done(const Job& job);

// Throws ConfigurationError if a job's folder records the end of another command: its results must not pass for those
// of this one.
void check_records(std::span<const Job> jobs);

// Runs the jobs in their order as processes of this very program, at most `side_by_side` at once, the `launcher` before
// those that run on ranks, and prints one line for each that has ended. A job whose record says that it succeeded is not run
// again; a training of the same command that was stopped, killed or failed goes on from its checkpoint; whatever else a
// folder holds is removed first. After a failure the others go on, but for those that need it. A request to stop
// (launch/process/stop_signals.h) is passed on to the jobs that run, and no other is started. check_records() must have passed.
// Throws ConfigurationError where a job still runs, started by a call that was killed.
std::vector<JobOutcome> run_jobs(std::span<const Job> jobs, const std::vector<std::string>& launcher,
                                 std::size_t side_by_side, Console& console);

// 6 if one was stopped, so that the same call goes on; else the exit code of the first that failed, and 0 if none did.
ExitCode exit_code_of(std::span<const JobOutcome> outcomes);

// What to say after a request to stop.
inline constexpr std::string_view stopped_early = "stopped by a signal; the same command goes on";

// The command line of a job, as run_jobs() starts it.
std::vector<std::string> command_line(const Job& job, const std::vector<std::string>& launcher);

}  // namespace chorus
