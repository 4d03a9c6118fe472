#include <algorithm>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "core/formats/model_tensors.h"
#include "data/text/files.h"
#include "data/text/folder_lock.h"
#include "data/text/json.h"
#include "data/text/text_file.h"
#include "experiments/studies/study_plan.h"
#include "experiments/studies/study_table.h"
#include "experiments/studies/training_progress.h"
#include "launch/commands/commands.h"
#include "launch/commands/job_runner.h"
#include "launch/process/console.h"
#include "launch/process/environment.h"

namespace chorus::command {
namespace {

struct Options {
  std::string file, base, output, launcher;
  std::string prepare_options, train_options, evaluate_options;
  std::vector<std::string> inputs, corpora, seeds, rows, values;
  std::size_t jobs = 1;
  bool dry_run = false;
};

std::map<std::string, std::string> parse_pairs(const std::vector<std::string>& texts,
                                               const std::string& option) {
  std::map<std::string, std::string> pairs;
  for (const std::string& text : texts) {
    const std::size_t equal = text.find('=');
    require<ConfigurationError>(equal != std::string::npos && equal > 0, option, " ", text,
                                ": must be NAME=VALUE");
    const bool is_new = pairs.emplace(text.substr(0, equal), text.substr(equal + 1)).second;
    require<ConfigurationError>(is_new, option, " ", text, ": ", text.substr(0, equal), " is given twice");
  }
  return pairs;
}

StudyRequest make_request(const Options& options) {
  StudyRequest request;
  request.base = absolute_path(options.base);
  request.output = absolute_path(options.output);
  request.inputs = parse_pairs(options.inputs, "--corpus");
  for (auto& [corpus, input] : request.inputs) {
    input = absolute_path(input);
    require<ConfigurationError>(std::filesystem::exists(input), "--corpus ", corpus, "=", input,
                                ": there is no such file or folder");
  }
  if (!options.corpora.empty()) {
    for (const std::string& corpus : options.corpora)
      require<ConfigurationError>(request.inputs.contains(corpus), "--corpora names ", corpus,
                                  ", but no --corpus ", corpus, "=DIR is given");
    std::erase_if(request.inputs,
                  [&](const auto& input) { return std::ranges::count(options.corpora, input.first) == 0; });
  }
  request.seeds = parse_seeds(options.seeds);
  request.rows = options.rows;
  request.prepare = parse_command_options(options.prepare_options, "--prepare-options");
  request.train = parse_command_options(options.train_options, "--train-options");
  request.evaluate = parse_command_options(options.evaluate_options, "--evaluate-options");
  request.values = parse_pairs(options.values, "--value");
  return request;
}

// An output folder is new, or that of a former call for the same study.
void begin_output(const StudyRequest& request, const Study& study, const Options& options,
                  const OptionTable& table, std::optional<FolderLock>& lock) {
  const std::filesystem::path file = request.output / "study.json";
  if (std::filesystem::exists(file)) {
    const Study former = Study::parse(read_text_file(file), file.string(), request.output);
    require<ConfigurationError>(former.name == study.name, "--output ", request.output.string(),
                                " is that of the study ", former.name, "; name another folder");
    lock.emplace(request.output, FolderLock::Former::kept);
  } else {
    lock.emplace(request.output, FolderLock::Former::refused);
  }
  write_file_atomically(file, read_text_file(options.file));
  write_file_atomically(request.output / "config.ini", table.print_effective());
  write_file_atomically(request.output / "environment.json", describe_environment().dump(2) + "\n");
}

// The table also has rows that an earlier call has run.
StudyTable make_table(const Study& study, StudyRequest request) {
  request.rows.clear();
  const StudyPlan plan = plan_study(study, request);
  StudyTable table{.study = study,
                   .conditions = {.base = request.base,
                                  .parameters = parameter_count(read_model_config(request.base)),
                                  .seeds = request.seeds.empty() ? study.seeds : request.seeds},
                   .scores = {}};
  for (const Job& job : plan.jobs) {
    if (job.kind != JobKind::train || !is_done(job)) continue;
    ++table.conditions.trainings;
    if (read_training_end(output_of(job)).stopped_early) ++table.conditions.stopped_early;
  }
  for (const PlannedScore& planned : plan.scores) {
    const Job& job = plan.jobs[planned.job];
    if (!is_done(job)) continue;
    const std::filesystem::path file = output_of(job) / "eval_results.json";
    StudyScore score = read_study_score(read_json_file(file), file.string(), planned.corpus);
    score.row = planned.row;
    score.seed = planned.seed;
    table.scores.push_back(std::move(score));
  }
  return table;
}

// The exit code of the whole is that of the first failure.
ExitCode run(const Options& options, const OptionTable& option_table) {
  const Study study = Study::load(options.file);
  const StudyRequest request = make_request(options);
  const StudyPlan plan = plan_study(study, request);
  const std::vector<std::string> launcher = split_words(options.launcher, "--launcher");
  Console console;
  for (const std::string& text : plan.left_out)
    console.print(fmt::format("{}left out: {}", options.dry_run ? "# " : "", text));
  if (options.dry_run) {
    for (const Job& job : plan.jobs) console.print(shell_line(command_line(job, launcher)));
    return ExitCode::done;
  }
  check_records(plan.jobs);
  std::optional<FolderLock> lock;
  begin_output(request, study, options, option_table, lock);
  const std::vector<JobOutcome> outcomes = run_jobs(plan.jobs, launcher, options.jobs, console);

  const StudyTable table = make_table(study, request);
  write_file_atomically(request.output / "table.txt", table.to_text());
  write_file_atomically(request.output / "table.md", table.to_markdown());
  write_file_atomically(request.output / "table.json", table.to_json().dump(2) + "\n");
  console.print(fmt::format("\n{}", table.to_text()));
  const auto failed = std::ranges::count(outcomes, JobOutcome::State::failed, &JobOutcome::state);
  if (failed > 0)
    console.print(
        fmt::format("{} of {} jobs failed; the same command runs them again", failed, outcomes.size()));
  const ExitCode exit_code = exit_code_of(outcomes);
  if (exit_code == ExitCode::preempted) console.print(stopped_early);
  return exit_code;
}

void bind(OptionTable& table, Options& options) {
  table.positional("study", options.file, "file that says what to run, as in experiments/*/*.json")
      .required()
      .shown_as("FILE.json");
  table.add("base", options.base, "Hugging Face folder of the base model").required().shown_as("DIR");
  table.add("corpus", options.inputs, "where a corpus of the study is; once for each")
      .required()
      .shown_as("NAME=DIR");
  table.add("output", options.output, "folder for everything; a second call goes on there")
      .required()
      .shown_as("DIR");
  table.group("Choice");
  table.add("rows", options.rows, "only these; empty: all");
  table.add("corpora", options.corpora, "only these of the given ones; empty: all");
  table.add("seeds", options.seeds, "instead of those of the study");
  table.group("Running");
  table.add("launcher", options.launcher,
            "what stands before train and evaluate: \"launch/mpirun.sh --ranks-per-node 4 --\"");
  table.add("jobs", options.jobs, "so many side by side").at_least(1);
  table.add("prepare-options", options.prepare_options, "instead of the study's: \"--max-tokens 512\"");
  table.add("train-options", options.train_options, "instead of the study's: \"--epochs 1\"");
  table.add("evaluate-options", options.evaluate_options, "instead of the study's");
  table.add("value", options.values, "of a {name} in the options of the study").shown_as("NAME=TEXT");
  table.add("dry-run", options.dry_run, "print the commands and run nothing");
}

}  // namespace

ExitCode study(const Arguments& arguments) {
  Options options;
  OptionTable table("study", "runs every row of a paper's table and prints ours beside it");
  bind(table, options);
  if (!table.parse(arguments)) return ExitCode::done;
  return run(options, table);
}

}  // namespace chorus::command
