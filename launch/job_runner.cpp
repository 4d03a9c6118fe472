#include "launch/job_runner.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <sstream>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/files.h"
#include "data/text_file.h"
#include "data/words.h"
#include "ops/error.h"

namespace chorus {
namespace {

constexpr std::size_t lines_shown = 5;  // of the log of a failed job

std::filesystem::path record_of(const Job& job) { return job.folder / "job.json"; }
std::filesystem::path log_of(const Job& job) { return job.folder / "log.txt"; }

std::string own_program() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error);
  require<DataError>(!error, "cannot find the file of this program: ", error.message());
  return path.string();
}

// How a finished job ended, if it did.
std::optional<nlohmann::json> read_record(const Job& job) {
  if (!std::filesystem::exists(record_of(job))) return std::nullopt;
  nlohmann::json record = read_json_file(record_of(job));
  const bool complete = record.is_object() && record.contains("arguments") && record.contains("exit_code");
  require<DataError>(complete, record_of(job).string(), " is not the record of a job");
  return record;
}

bool succeeded(const std::optional<nlohmann::json>& record) { return record && record->at("exit_code") == 0; }

// What Chorus says of its failure, or the end of the log: behind an error, mpirun adds lines that explain nothing.
std::string last_lines(const std::filesystem::path& log) {
  std::istringstream text(read_file(log));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("chorus") && line.find(": error: ") != std::string::npos) return line;
    lines.push_back(std::move(line));
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
    posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
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

std::filesystem::path process_file_of(const Job& job) { return job.folder / "process"; }

pid_t start_process(const std::vector<std::string>& words, const std::filesystem::path& log) {
  const LoggedFiles files(log);
  std::vector<std::string> copies = words;  // posix_spawn wants them writable
  std::vector<char*> pointers;
  for (std::string& word : copies) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  pid_t process = 0;
  const int error = posix_spawnp(&process, pointers[0], files.get(), nullptr, pointers.data(), environ);
  require<ConfigurationError>(error == 0, "cannot start ", words[0], ": ",
                              std::generic_category().message(error));
  return process;
}

// A call that was killed leaves its processes running. They would write where the next one does.
void refuse_if_running(const Job& job) {
  if (!std::filesystem::exists(process_file_of(job))) return;
  const std::string process = read_file(process_file_of(job));
  const std::filesystem::path command = std::filesystem::path("/proc") / process / "cmdline";
  std::error_code gone;
  if (process.empty() || !std::filesystem::exists(command, gone)) return;
  const bool same = read_file(command).find(output_of(job).string()) != std::string::npos;
  require<ConfigurationError>(!same, job.name, " still runs as process ", process,
                              ", started by a call that has ended: wait for it, or stop it with kill ",
                              process);
}

pid_t start(const Job& job, const std::vector<std::string>& launcher) {
  remove_folder(job.folder);
  std::filesystem::create_directories(job.folder);
  const pid_t process = start_process(command_line(job, launcher), log_of(job));
  write_file_atomically(process_file_of(job), std::to_string(process));
  return process;
}

// Waits for any of the processes that this one started.
std::pair<pid_t, int> wait_for_any() {
  for (;;) {
    int status = 0;
    const pid_t process = waitpid(-1, &status, 0);
    if (process > 0) return {process, WIFEXITED(status) ? WEXITSTATUS(status) : -1};
    require(errno == EINTR, "waiting for jobs: ", std::generic_category().message(errno));
  }
}

JobOutcome record(const Job& job, const std::vector<std::string>& launcher, int exit_code, double seconds) {
  JobOutcome outcome{.exit_code = exit_code, .seconds = seconds, .last_lines = {}};
  outcome.state = exit_code == 0 ? JobOutcome::State::done : JobOutcome::State::failed;
  nlohmann::ordered_json record{
      {"arguments", job.arguments}, {"launcher", launcher}, {"exit_code", exit_code}, {"seconds", seconds}};
  if (outcome.state == JobOutcome::State::failed) {
    outcome.last_lines = last_lines(log_of(job));
    record["last_lines"] = outcome.last_lines;
  }
  write_file_atomically(record_of(job),
                        record.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  std::filesystem::remove(process_file_of(job));
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
      return "done in " + print_duration(outcome.seconds);
    case JobOutcome::State::found_done:
      return "done before";
    case JobOutcome::State::failed:
      return fmt::format("FAILED with exit code {} after {}", outcome.exit_code,
                         print_duration(outcome.seconds));
    case JobOutcome::State::not_run:
      return "not run: " + outcome.last_lines;
  }
  return "";
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
    std::chrono::steady_clock::time_point start;
  };

  // Whether the job need not wait any longer: it runs, or will not.
  bool take(std::size_t i, std::size_t side_by_side) {
    const Job& job = jobs_[i];
    JobOutcome outcome;
    for (const std::size_t needed : job.after) {
      if (!ended_.contains(needed)) return false;
      const JobOutcome::State state = outcomes_[needed].state;
      if (state != JobOutcome::State::failed && state != JobOutcome::State::not_run) continue;
      outcome.last_lines = jobs_[needed].name + " is missing";
      end(i, std::move(outcome));
      return true;
    }
    if (succeeded(read_record(job))) {
      outcome.state = JobOutcome::State::found_done;
      end(i, std::move(outcome));
      return true;
    }
    if (running_.size() >= side_by_side) return false;
    running_[start(job, launcher_)] = {i, std::chrono::steady_clock::now()};
    return true;
  }

  void wait() {
    const auto [process, exit_code] = wait_for_any();
    const auto found = running_.find(process);
    if (found == running_.end()) return;
    const auto [job, start] = found->second;
    running_.erase(found);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    end(job, record(jobs_[job], launcher_, exit_code, seconds));
  }

  void end(std::size_t i, JobOutcome outcome) {
    ended_.insert(i);
    estimate_.ended(jobs_[i], outcome);
    console_.print(fmt::format("job {}/{} | {} | {}{}", ended_.size(), jobs_.size(), jobs_[i].name,
                               describe(outcome), estimate_.print()));
    if (outcome.state == JobOutcome::State::failed) console_.print(outcome.last_lines);
    outcomes_[i] = std::move(outcome);
  }

  void show_running() {
    std::vector<std::string> names;
    for (const auto& [process, running] : running_) names.push_back(jobs_[running.job].name);
    if (!names.empty()) console_.progress(joined(names, ", "), 0, 0);
  }

  std::span<const Job> jobs_;
  const std::vector<std::string>& launcher_;
  Console& console_;
  std::vector<JobOutcome> outcomes_;
  std::map<pid_t, Running> running_;
  std::set<std::size_t> ended_;
  Estimate estimate_;
};

}  // namespace

std::vector<std::string> command_line(const Job& job, const std::vector<std::string>& launcher) {
  std::vector<std::string> words;
  if (job.kind != JobKind::prepare) words = launcher;
  words.push_back(own_program());
  words.insert(words.end(), job.arguments.begin(), job.arguments.end());
  return words;
}

bool is_done(const Job& job) {
  const auto record = read_record(job);
  return succeeded(record) && record->at("arguments").get<std::vector<std::string>>() == job.arguments;
}

void check_records(std::span<const Job> jobs) {
  for (const Job& job : jobs) {
    const auto record = read_record(job);
    if (!record) continue;
    const auto former = record->at("arguments").get<std::vector<std::string>>();
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

int exit_code_of(std::span<const JobOutcome> outcomes) {
  const auto failed = std::ranges::find(outcomes, JobOutcome::State::failed, &JobOutcome::state);
  if (failed == outcomes.end()) return static_cast<int>(ExitCode::done);
  return failed->exit_code > 0 ? failed->exit_code : static_cast<int>(ExitCode::internal);
}

}  // namespace chorus
