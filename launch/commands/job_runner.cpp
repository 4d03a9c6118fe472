#include "launch/commands/job_runner.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/text/files.h"
#include "data/text/folder_lock.h"
#include "data/text/json.h"
#include "data/text/process_record.h"
#include "data/text/text.h"
#include "data/text/text_file.h"
#include "experiments/studies/training_progress.h"
#include "launch/process/environment.h"
#include "launch/process/stop_signals.h"
#include "ops/base/clock.h"
#include "ops/base/error.h"

namespace chorus {
namespace {

constexpr std::size_t lines_shown = 5;       // of the log of a failed job
constexpr double seconds_between_looks = 1;  // at the logs of those that run

std::filesystem::path record_of(const Job& job) { return job.folder / "job.json"; }
std::filesystem::path log_of(const Job& job) { return job.folder / "log.txt"; }

// What was started for a job, and how it ended, if it did.
std::optional<nlohmann::ordered_json> read_record(const Job& job) {
  if (!std::filesystem::exists(record_of(job))) return std::nullopt;
  const nlohmann::ordered_json record = read_json_file(record_of(job));
  const auto is_number = [&](const char* key) {
    return record.contains(key) && record[key].is_number_integer();
  };
  const bool complete = record.is_object() && record.contains("arguments") &&
                        record["arguments"].is_array() &&
                        std::ranges::all_of(record["arguments"], &nlohmann::ordered_json::is_string) &&
                        (record.contains("exit_code") ? is_number("exit_code") : is_number("process"));
  require<DataError>(complete, record_of(job).string(), " is not the record of a job");
  return record;
}

void write_record(const Job& job, const nlohmann::ordered_json& record) {
  write_file_atomically(record_of(job),
                        record.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

std::vector<std::string> arguments_of(const nlohmann::ordered_json& record) {
  return record.at("arguments").get<std::vector<std::string>>();
}

bool succeeded(const std::optional<nlohmann::ordered_json>& record) {
  return record && record->value("exit_code", -1) == 0;
}

// What Chorus says of its failure, or the end of the log: behind an error, mpirun adds lines that explain nothing.
std::string last_lines(const std::filesystem::path& log) {
  const std::vector<std::string> lines = split_lines(read_file(log));
  for (const std::string& line : lines) {
    if (line.starts_with("chorus") && line.find(": error: ") != std::string::npos) return line;
  }
  std::string out;
  for (std::size_t i = lines.size() > lines_shown ? lines.size() - lines_shown : 0; i < lines.size(); ++i)
    out += (out.empty() ? "" : "\n") + lines[i];
  return out;
}

// What a process is told of its files: nothing to read, everything it says into one log.
class LoggedFiles {
 public:
  explicit LoggedFiles(const std::filesystem::path& log) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                     0666);
    posix_spawn_file_actions_adddup2(&actions_, STDOUT_FILENO, STDERR_FILENO);
  }
  LoggedFiles(const LoggedFiles&) = delete;
  LoggedFiles& operator=(const LoggedFiles&) = delete;
  ~LoggedFiles() { posix_spawn_file_actions_destroy(&actions_); }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

// In a process that is started no signal is blocked, nor ignored by our doing (launch/process/stop_signals.h).
class UsualSignals {
 public:
  UsualSignals() {
    sigset_t none, ignored;
    sigemptyset(&none);
    sigemptyset(&ignored);
    sigaddset(&ignored, SIGPIPE);
    posix_spawnattr_init(&attributes_);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &ignored);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  UsualSignals(const UsualSignals&) = delete;
  UsualSignals& operator=(const UsualSignals&) = delete;
  ~UsualSignals() { posix_spawnattr_destroy(&attributes_); }
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

pid_t start_process(const std::vector<std::string>& words, const std::filesystem::path& log) {
  const LoggedFiles files(log);
  const UsualSignals signals;
  std::vector<std::string> copies = words;  // posix_spawn wants them writable
  std::vector<char*> pointers;
  for (std::string& word : copies) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  pid_t process = 0;
  const int error = posix_spawnp(&process, pointers[0], files.get(), signals.get(), pointers.data(), environ);
  require<ConfigurationError>(error == 0, "cannot start ", words[0], ": ",
                              std::generic_category().message(error));
  return process;
}

// A call that was killed leaves its processes running. They would write where the next one does.
void refuse_if_running(const Job& job) {
  const auto record = read_record(job);
  if (!record || record->contains("exit_code")) return;
  const auto refuse = [&](const std::string& process) {
    throw ConfigurationError(fmt::format(
        "{} still runs as {}, started by a call that has ended: wait for it, or stop it", job.name, process));
  };
  const ProcessRecord process = ProcessRecord::from_json(*record);
  if (process.runs()) refuse(process.description());
  // The launcher may have ended before its ranks, or have run on another machine.
  if (const auto writer = writer_of(output_of(job))) refuse(*writer);
}

// A training that was stopped, killed or failed goes on from its newest checkpoint; other jobs begin anew.
pid_t start(const Job& job, const std::vector<std::string>& launcher) {
  const auto former = read_record(job);
  std::vector<std::string> words = command_line(job, launcher);
  if (job.kind == JobKind::train && former && arguments_of(*former) == job.arguments) {
    words.insert(words.end(), {"--resume", "auto"});
  } else {
    remove_folder(job.folder);
  }
  std::filesystem::create_directories(job.folder);
  const pid_t process = start_process(words, log_of(job));
  nlohmann::ordered_json record{{"arguments", job.arguments}, {"launcher", launcher}};
  record.update(ProcessRecord::of(process).to_json());
  write_record(job, record);
  return process;
}

// A process of this one that has ended, if any has.
std::optional<std::pair<pid_t, int>> ended_process() {
  int status = 0;
  const pid_t process = waitpid(-1, &status, WNOHANG);
  require(process >= 0 || errno == EINTR, "waiting for jobs: ", std::generic_category().message(errno));
  if (process <= 0) return std::nullopt;
  return std::pair(process, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

std::string remark_on_end(const Job& job) {
  if (job.kind != JobKind::train || !std::filesystem::exists(output_of(job) / "train_results.json"))
    return "";
  const TrainingEnd end = read_training_end(output_of(job));
  return end.stopped_early ? fmt::format(", stopped early at step {} of {}", end.steps, end.total_steps) : "";
}

JobOutcome record(const Job& job, const std::vector<std::string>& launcher, int exit_code, double seconds) {
  JobOutcome outcome{.exit_code = exit_code, .seconds = seconds, .last_lines = {}, .remark = {}};
  // Asked to stop, a launcher may end with any code.
  const bool stopped = stop_requested() || exit_code == static_cast<int>(ExitCode::preempted);
  outcome.state = exit_code == 0 ? JobOutcome::State::done
                  : stopped      ? JobOutcome::State::stopped
                                 : JobOutcome::State::failed;
  if (outcome.state == JobOutcome::State::done) outcome.remark = remark_on_end(job);
  nlohmann::ordered_json record{
      {"arguments", job.arguments}, {"launcher", launcher}, {"exit_code", exit_code}, {"seconds", seconds}};
  if (outcome.state == JobOutcome::State::failed) {
    outcome.last_lines = last_lines(log_of(job));
    record["last_lines"] = outcome.last_lines;
  }
  write_record(job, record);
  return outcome;
}

// How long the remaining jobs will take, going by those of their kind that ran.
class Estimate {
 public:
  explicit Estimate(std::span<const Job> jobs) {
    for (const Job& job : jobs) ++remaining_[job.kind];
  }
  void ended(const Job& job, const JobOutcome& outcome) {
    --remaining_[job.kind];
    if (outcome.state != JobOutcome::State::done) return;
    seconds_[job.kind] += outcome.seconds;
    ++ran_[job.kind];
  }
  // Nothing as long as a kind that is to come has not run once.
  std::string print() const {
    double sum = 0;
    for (const auto& [kind, jobs] : remaining_) {
      if (jobs == 0) continue;
      if (!ran_.contains(kind)) return "";
      sum += jobs * seconds_.at(kind) / ran_.at(kind);
    }
    return sum > 0 ? " | eta at most " + print_duration(sum) : "";
  }

 private:
  std::map<JobKind, int> remaining_, ran_;
  std::map<JobKind, double> seconds_;
};

std::string describe(const JobOutcome& outcome) {
  switch (outcome.state) {
    case JobOutcome::State::done:
      return "done in " + print_duration(outcome.seconds) + outcome.remark;
    case JobOutcome::State::found_done:
      return "done before" + outcome.remark;
    case JobOutcome::State::failed:
      return fmt::format("FAILED with exit code {} after {}", outcome.exit_code,
                         print_duration(outcome.seconds));
    case JobOutcome::State::stopped:
      return "stopped after " + print_duration(outcome.seconds);
    case JobOutcome::State::not_run:
      return "not run: " + outcome.last_lines;
  }
  return "";
}

std::string describe_running(const Job& job, double seconds) {
  const auto progress = job.kind == JobKind::train ? read_progress(output_of(job)) : std::nullopt;
  if (!progress) return "runs for " + print_duration(seconds);
  const std::string dev = progress->dev_f1 ? fmt::format(" | dev F1 {:.2f}", 100 * *progress->dev_f1) : "";
  return fmt::format("step {}/{} | loss {:.4f}{} | eta {}", progress->step, progress->total_steps,
                     progress->loss, dev, print_duration(progress->remaining_seconds));
}

// The jobs of one call, and those of them that run.
class JobQueue {
 public:
  JobQueue(std::span<const Job> jobs, const std::vector<std::string>& launcher, Console& console)
      : jobs_(jobs), launcher_(launcher), console_(console), outcomes_(jobs.size()), estimate_(jobs) {}

  std::vector<JobOutcome> run(std::size_t side_by_side) {
    for (const Job& job : jobs_) refuse_if_running(job);
    std::vector<std::size_t> waiting(jobs_.size());
    std::iota(waiting.begin(), waiting.end(), std::size_t{0});
    while (!waiting.empty() || !running_.empty()) {
      if (stop_requested()) waiting.clear();
      std::erase_if(waiting, [&](std::size_t i) { return take(i, side_by_side); });
      show_running();
      if (!running_.empty()) wait();
    }
    console_.finish();
    return std::move(outcomes_);
  }

 private:
  struct Running {
    std::size_t job = 0;
    Clock clock;
  };

  // Whether the job need not wait any longer: it runs, or will not.
  bool take(std::size_t i, std::size_t side_by_side) {
    const Job& job = jobs_[i];
    JobOutcome outcome;
    for (const std::size_t needed : job.after) {
      if (!ended_.contains(needed)) return false;
      const JobOutcome::State state = outcomes_[needed].state;
      if (state == JobOutcome::State::done || state == JobOutcome::State::found_done) continue;
      outcome.last_lines = jobs_[needed].name + " is missing";
      end(i, std::move(outcome));
      return true;
    }
    if (succeeded(read_record(job))) {
      outcome.state = JobOutcome::State::found_done;
      outcome.remark = remark_on_end(job);
      end(i, std::move(outcome));
      return true;
    }
    if (running_.size() >= side_by_side) return false;
    running_[start(job, launcher_)] = {i, Clock()};
    return true;
  }

  // Until a job has ended. A request to stop is passed on: launchers give USR2 to all ranks.
  void wait() {
    std::optional<std::pair<pid_t, int>> ended;
    for (Clock shown; !(ended = ended_process());) {
      if (shown.seconds() > seconds_between_looks) {
        show_running();
        shown = Clock();
      }
      if (stop_requested() && !std::exchange(told_to_stop_, true)) {
        for (const auto& [process, running] : running_) kill(process, SIGUSR2);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    const auto [process, exit_code] = *ended;
    const auto found = running_.find(process);
    if (found == running_.end()) return;
    const auto [job, clock] = found->second;
    running_.erase(found);
    end(job, record(jobs_[job], launcher_, exit_code, clock.seconds()));
  }

  void end(std::size_t i, JobOutcome outcome) {
    ended_.insert(i);
    estimate_.ended(jobs_[i], outcome);
    show_running();  // without it
    console_.print(fmt::format("job {}/{} | {} | {}{}", ended_.size(), jobs_.size(), jobs_[i].name,
                               describe(outcome), estimate_.print()));
    if (outcome.state == JobOutcome::State::failed) console_.print(outcome.last_lines);
    outcomes_[i] = std::move(outcome);
  }

  void show_running() {
    std::size_t width = 0;
    for (const auto& [process, running] : running_) width = std::max(width, jobs_[running.job].name.size());
    std::vector<std::string> lines;
    for (const auto& [process, running] : running_) {
      const Job& job = jobs_[running.job];
      lines.push_back(
          fmt::format("{:<{}} | {}", job.name, width, describe_running(job, running.clock.seconds())));
    }
    console_.show("jobs", std::move(lines));
  }

  std::span<const Job> jobs_;
  const std::vector<std::string>& launcher_;
  Console& console_;
  std::vector<JobOutcome> outcomes_;
  std::map<pid_t, Running> running_;
  std::set<std::size_t> ended_;
  bool told_to_stop_ = false;
  Estimate estimate_;
};

}  // namespace

std::vector<std::string> command_line(const Job& job, const std::vector<std::string>& launcher) {
  std::vector<std::string> words;
  if (job.on_ranks) words = launcher;
  words.push_back(own_program());
  words.insert(words.end(), job.arguments.begin(), job.arguments.end());
  return words;
}

bool is_done(const Job& job) {
  const auto record = read_record(job);
  return succeeded(record) && arguments_of(*record) == job.arguments;
}

void check_records(std::span<const Job> jobs) {
  for (const Job& job : jobs) {
    const auto record = read_record(job);
    if (!record) continue;
    const std::vector<std::string> former = arguments_of(*record);
    require<ConfigurationError>(
        former == job.arguments || !succeeded(record), job.folder.string(),
        " holds the result of another command: name another --output, or remove it. It was: ",
        shell_line(former));
  }
}

std::vector<JobOutcome> run_jobs(std::span<const Job> jobs, const std::vector<std::string>& launcher,
                                 std::size_t side_by_side, Console& console) {
  return JobQueue(jobs, launcher, console).run(side_by_side);
}

ExitCode exit_code_of(std::span<const JobOutcome> outcomes) {
  using enum JobOutcome::State;
  if (stop_requested() || std::ranges::count(outcomes, stopped, &JobOutcome::state) > 0)
    return ExitCode::preempted;
  const auto first = std::ranges::find(outcomes, failed, &JobOutcome::state);
  if (first == outcomes.end()) return ExitCode::done;
  return first->exit_code > 0 ? static_cast<ExitCode>(first->exit_code) : ExitCode::internal;
}

}  // namespace chorus
