#include "experiments/studies/sweep.h"

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "data/sets/data_split.h"
#include "data/text/files.h"
#include "data/text/folder_lock.h"
#include "data/text/json.h"
#include "data/text/json_values.h"
#include "experiments/studies/study_table.h"
#include "experiments/studies/training_progress.h"
#include "launch/commands/commands.h"
#include "launch/commands/job_runner.h"
#include "launch/process/console.h"
#include "launch/process/environment.h"

namespace chorus::command {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string base, data, output, vary, launcher, train_options, evaluate_options;
  std::vector<std::string> seeds{"1"};
  std::int64_t trials = 0, rounds = 1, trial = -1;
  int halving = 2;
  std::uint64_t random_seed = 1;
  std::size_t jobs = 1;
  bool dry_run = false;
};

SweepRequest make_request(const Options& options) {
  SweepRequest request{.base = absolute_path(options.base),
                       .data = absolute_path(options.data),
                       .output = absolute_path(options.output),
                       .dimensions = parse_dimensions(options.vary, "--vary"),
                       .trials = {},
                       .seeds = {},
                       .train = parse_command_options(options.train_options, "--train-options"),
                       .evaluate = parse_command_options(options.evaluate_options, "--evaluate-options"),
                       .factor = options.halving,
                       .rungs = static_cast<int>(options.rounds)};
  for (const Dimension& dimension : request.dimensions) {
    require<ConfigurationError>(
        dimension.option != "dev-metric",
        "--vary dev-metric: trials are compared by one metric; give it in --train-options");
    require<ConfigurationError>(!request.train.contains(dimension.option) && dimension.option != "seed",
                                "--vary and ", dimension.option == "seed" ? "--seeds" : "--train-options",
                                " both say what ", dimension.option, " is");
  }
  // Found here rather than after the first training.
  require<DataError>(!find_split(request.data, "dev").files.empty(), options.data,
                     ": has no dev split; trials are compared by their score on dev");
  const auto eval_steps = request.train.find("eval-steps");
  require<ConfigurationError>(
      eval_steps == request.train.end() || eval_steps->second != "0",
      "--train-options has --eval-steps 0, but trials are compared by their score on dev");
  request.trials =
      options.trials == 0
          ? grid_trials(request.dimensions)
          : random_trials(request.dimensions, static_cast<std::size_t>(options.trials), options.random_seed);
  request.seeds = parse_seeds(options.seeds);
  return request;
}

TrainingEnd read_end(const Job& job) {
  TrainingEnd end = read_training_end(output_of(job));
  require<DataError>(
      end.dev.has_value(), (output_of(job) / "train_results.json").string(),
      ": has no score on dev: trials are compared by it, so the data need a dev split, and --eval-steps "
      "must not be 0");
  return end;
}

double read_test(const Job& job) {
  const fs::path file = output_of(job) / "eval_results.json";
  const nlohmann::json results = read_json_file(file);
  return read_values(file.string(),
                     [&] { return best_answers(results, file.string()).at("weighted_f1").get<double>(); });
}

std::vector<std::size_t> all_trials(const SweepRequest& request) {
  std::vector<std::size_t> trials(request.trials.size());
  std::iota(trials.begin(), trials.end(), std::size_t{0});
  return trials;
}

// One call of the command.
class Sweep {
 public:
  Sweep(const Options& options, SweepRequest request, Console& console)
      : options_(options),
        request_(std::move(request)),
        launcher_(split_words(options.launcher, "--launcher")),
        console_(console) {}

  ExitCode run() {
    std::vector<std::size_t> trials = all_trials(request_);
    if (options_.trial >= 0) trials = {static_cast<std::size_t>(options_.trial)};
    for (int rung = 0; rung < request_.rungs && !trials.empty(); ++rung) {
      if (request_.rungs > 1)
        console_.print(fmt::format("round {} of {}: {} trials of {:g} epochs", rung + 1, request_.rungs,
                                   trials.size(), epochs_of(request_, rung)));
      const std::vector<TrialResult> results = train(trials, rung);
      if (exit_code_ == ExitCode::preempted) {
        console_.print(stopped_early);
        return exit_code_;
      }
      keep(results);
      trials = survivors(results, request_.factor);
    }
    if (options_.trial >= 0) return exit_code_;  // one task of an array: others have the rest
    rank(results_);
    if (!results_.empty() && results_[0].failed == 0 && !find_split(request_.data, "test").files.empty())
      test(results_[0]);
    report();
    return exit_code_;
  }

 private:
  void run_all(const std::vector<Job>& jobs) {
    check_records(jobs);
    const std::vector<JobOutcome> outcomes = run_jobs(jobs, launcher_, options_.jobs, console_);
    const ExitCode exit_code = exit_code_of(outcomes);
    if (exit_code_ == ExitCode::done || exit_code == ExitCode::preempted) exit_code_ = exit_code;
  }

  std::vector<TrialResult> train(const std::vector<std::size_t>& trials, int rung) {
    const std::vector<Job> jobs = training_jobs(request_, trials, rung);
    run_all(jobs);
    std::vector<TrialResult> results;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      if (i % request_.seeds.size() == 0)
        results.push_back({.trial = trials[i / request_.seeds.size()], .rung = rung, .dev = {}, .test = {}});
      if (!is_done(jobs[i])) {
        ++results.back().failed;
        continue;
      }
      const TrainingEnd end = read_end(jobs[i]);
      request_.dev_metric = end.dev_metric;  // of all trials: they differ in other options
      results.back().dev.push_back(*end.dev);
      if (end.stopped_early) ++results.back().stopped_early;
    }
    return results;
  }

  // The last round of a trial is the one that counts.
  void keep(const std::vector<TrialResult>& results) {
    for (const TrialResult& result : results) {
      std::erase_if(results_, [&](const TrialResult& former) { return former.trial == result.trial; });
      results_.push_back(result);
    }
  }

  void test(TrialResult& best) {
    const std::vector<Job> jobs = test_jobs(request_, best.trial);
    run_all(jobs);
    for (const Job& job : jobs) {
      if (is_done(job)) best.test.push_back(read_test(job));
    }
  }

  void report() {
    const MajorityScores majority = majority_scores(request_.data, request_.dev_metric);
    const std::string table = to_table(request_, results_, majority);
    write_file_atomically(request_.output / "sweep.txt", table);
    write_file_atomically(request_.output / "sweep.json",
                          to_json(request_, results_, majority).dump(2) + "\n");
    console_.print(fmt::format(
        "\nbest first by the mean {} on dev over {} seeds{}; only the best is scored on test\n\n{}",
        title(request_.dev_metric), request_.seeds.size(),
        request_.dev_metric == DevMetric::loss ? "" : ", in percent", table));
    const auto failed =
        std::ranges::count_if(results_, [](const TrialResult& result) { return result.failed > 0; });
    if (failed > 0) console_.print(fmt::format("{} trials failed; the same command runs them again", failed));
  }

  const Options& options_;
  SweepRequest request_;
  std::vector<std::string> launcher_;
  Console& console_;
  std::vector<TrialResult> results_;
  ExitCode exit_code_ = ExitCode::done;
};

void check_alone(const Options& options) {
  require<ConfigurationError>(options.rounds == 1, "a trial runs alone, and --rounds ", options.rounds,
                              " compare them: leave one out");
}

ExitCode run(const Options& options, const OptionTable& table) {
  const SweepRequest request = make_request(options);
  Console console;
  require<ConfigurationError>(options.trial < std::ssize(request.trials), "--trial is ", options.trial,
                              " but there are ", request.trials.size(), ", counted from 0");
  if (options.trial >= 0) check_alone(options);
  if (options.dry_run) {
    for (const Job& job : training_jobs(request, all_trials(request), 0))
      console.print(shell_line(command_line(job, split_words(options.launcher, "--launcher"))));
    return ExitCode::done;
  }
  // Tasks of an array work side by side, each in the folder of its trial.
  std::optional<FolderLock> lock;
  if (options.trial < 0)
    lock.emplace(request.output, fs::exists(request.output / "config.ini") ? FolderLock::Former::kept
                                                                           : FolderLock::Former::refused);
  fs::create_directories(request.output);
  write_file_atomically(request.output / "config.ini", table.print_effective());
  write_file_atomically(request.output / "environment.json", describe_environment().dump(2) + "\n");
  return Sweep(options, request, console).run();
}

void bind(OptionTable& table, Options& options) {
  table.add("base", options.base, "Hugging Face folder of the base model").required().shown_as("DIR");
  table.add("data", options.data, "folder that `chorus prepare` wrote").required().shown_as("DIR");
  table.add("output", options.output, "folder for everything; a second call goes on there")
      .required()
      .shown_as("DIR");
  table.group("Search");
  table
      .add(
          "vary", options.vary,
          "options of train: \"lora-rank=4,8,16; learning-rate=1e-4,3e-4\"; to draw from, also LOW..HIGH and "
          "log:LOW..HIGH")
      .required()
      .shown_as("LISTS");
  table.add("trials", options.trials, "so many random points; 0: every combination").between(0, 100'000);
  table.add("random-seed", options.random_seed, "of the random points");
  table.add("seeds", options.seeds, "each trial is trained with each of them");
  table.add("rounds", options.rounds, "successive halving: earlier rounds train shorter, and the best go on")
      .at_least(1);
  table.add("halving", options.halving, "1/N go on, and train N times as long").at_least(2);
  table.group("Running");
  table.add("jobs", options.jobs, "trainings side by side").at_least(1);
  table.add("launcher", options.launcher,
            "what stands before train and evaluate: \"launch/mpirun.sh --ranks-per-node 4 --\"");
  table.add("train-options", options.train_options, "of all trials: \"--epochs 2 --precision bf16\"");
  table.add("evaluate-options", options.evaluate_options, "of the score on test");
  table.add("trial", options.trial, "only this one, from 0, as a task of a Slurm array; -1: all")
      .at_least(-1);
  table.add("dry-run", options.dry_run, "print the commands of the first round and run nothing");
}

}  // namespace

ExitCode sweep(const Arguments& arguments) {
  Options options;
  OptionTable table("sweep",
                    "searches options of train: a grid or random points, the best by dev scored on test");
  bind(table, options);
  if (!table.parse(arguments)) return ExitCode::done;
  return run(options, table);
}

std::vector<Arguments> trainings_of_sweep(const std::string& configuration) {
  Options options;
  OptionTable table("sweep", "");
  bind(table, options);
  require(table.parse({configuration}), configuration, " asks for help");
  check_alone(options);
  const SweepRequest request = make_request(options);
  std::vector<Arguments> trainings;
  for (const std::size_t trial : all_trials(request)) {
    const Job job = training_jobs(request, {trial}, 0).at(0);
    trainings.emplace_back(job.arguments.begin() + 1, job.arguments.end());  // the command comes first
  }
  return trainings;
}

}  // namespace chorus::command
