#include "launch/job_runner.h"

#include <cerrno>
#include <chrono>
#include <map>
#include <optional>
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

// Runs a program to its end and returns its exit code, or -1 where a signal ended it.
int run_process(const std::vector<std::string>& words, const std::filesystem::path& log) {
  const LoggedFiles files(log);
  std::vector<std::string> copies = words;  // posix_spawn wants them writable
  std::vector<char*> pointers;
  for (std::string& word : copies) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  pid_t process = 0;
  const int error = posix_spawnp(&process, pointers[0], files.get(), nullptr, pointers.data(), environ);
  require<ConfigurationError>(error == 0, "cannot start ", words[0], ": ",
                              std::generic_category().message(error));
  int status = 0;
  while (waitpid(process, &status, 0) < 0) {
    require(errno == EINTR, "waiting for process ", process, ": ", std::generic_category().message(errno));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

JobOutcome run_job(const Job& job, const std::vector<std::string>& launcher) {
  remove_folder(job.folder);
  std::filesystem::create_directories(job.folder);
  const auto start = std::chrono::steady_clock::now();
  JobOutcome outcome;
  outcome.exit_code = run_process(command_line(job, launcher), log_of(job));
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  outcome.state = outcome.exit_code == 0 ? JobOutcome::State::done : JobOutcome::State::failed;
  nlohmann::ordered_json record{{"arguments", job.arguments},
                                {"launcher", launcher},
                                {"exit_code", outcome.exit_code},
                                {"seconds", outcome.seconds}};
  if (outcome.state == JobOutcome::State::failed) {
    outcome.last_lines = last_lines(log_of(job));
    record["last_lines"] = outcome.last_lines;
  }
  write_file_atomically(record_of(job),
                        record.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  return outcome;
}

// The job before this one without which it cannot run.
std::optional<std::size_t> missing(const Job& job, const std::vector<JobOutcome>& outcomes) {
  for (const std::size_t needed : job.after) {
    const JobOutcome::State state = outcomes[needed].state;
    if (state == JobOutcome::State::failed || state == JobOutcome::State::not_run) return needed;
  }
  return std::nullopt;
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
                                 Console& console) {
  std::vector<JobOutcome> outcomes;
  Estimate estimate(jobs);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const Job& job = jobs[i];
    console.progress(fmt::format("job {}/{} {}", i + 1, jobs.size(), job.name), 0, 0);
    JobOutcome outcome;
    if (const auto needed = missing(job, outcomes)) {
      outcome.last_lines = jobs[*needed].name + " is missing";
    } else if (succeeded(read_record(job))) {
      outcome.state = JobOutcome::State::found_done;
    } else {
      outcome = run_job(job, launcher);
    }
    estimate.ended(job, outcome);
    console.print(fmt::format("job {}/{} | {} | {}{}", i + 1, jobs.size(), job.name, describe(outcome),
                              estimate.print()));
    if (outcome.state == JobOutcome::State::failed) console.print(outcome.last_lines);
    outcomes.push_back(std::move(outcome));
  }
  console.finish();
  return outcomes;
}

}  // namespace chorus
