// Studies, sweeps, machines, benchmarks and reports.

#include <filesystem>

#include <nlohmann/json.hpp>

#include "core/scoring/predictions.h"
#include "data/text/json.h"
#include "experiments/planning/benchmark_file.h"
#include "experiments/planning/machine.h"
#include "experiments/report/report.h"
#include "experiments/studies/study.h"
#include "experiments/studies/study_table.h"
#include "experiments/studies/sweep.h"
#include "tests/fuzz/target.h"
#include "tests/support/scratch.h"

namespace chorus::fuzz {
namespace {

constexpr const char* log_line = "{\"current_steps\": 1, \"loss\": 1.5}\n";

void report_on(const std::string& run) {
  const Report report = Report::collect({folder(run)});
  report.to_csv();
  report.to_html("title", folder(run));
}

void read_log(const std::string& input) {
  file("log/trainer_log.jsonl", input);
  report_on("log");
}

void read_training_results(const std::string& input) {
  file("training/trainer_log.jsonl", log_line);
  file("training/train_results.json", input);
  report_on("training");
}

void read_evaluation_results(const std::string& input) {
  const auto path = file("evaluation/eval_results.json", input);
  unless_refused([&] {
    const nlohmann::json json = read_json_file(path);
    read_study_score(json, "results", "meld");
  });
  report_on("evaluation");
}

void read_report_predictions(const std::string& input) {
  static const std::string results = [] {
    const Scores scores({"joy", "anger"}, std::vector<Prediction>{{0, 1}, {1, 1}});
    return nlohmann::ordered_json{{"split", "test"}, {"results", {{"base", scores.to_json()}}}}.dump();
  }();
  file("answers/eval_results.json", results);
  file("answers/predictions.jsonl", input);
  report_on("answers");
}

void read_sweep(const std::string& input) {
  file("sweep/trainer_log.jsonl", log_line);
  file("sweep/sweep.json", input);
  report_on("sweep");
}

std::string sweep_seed() {
  SweepRequest request;
  request.dimensions = parse_dimensions("lora-rank=4,8; learning-rate=1e-4,1e-3", "--vary");
  request.trials = grid_trials(request.dimensions);
  request.seeds = {1};
  std::vector<TrialResult> results;
  for (std::size_t trial = 0; trial < request.trials.size(); ++trial)
    results.push_back({.trial = trial, .dev = {0.5}, .test = {}});
  return to_json(request, results, {}).dump(1);
}

// Texts of --vary, whose names and values become folders.
void read_dimensions(const std::string& input) {
  const std::vector<Dimension> dimensions = parse_dimensions(input, "--vary");
  random_trials(dimensions, 3, 1);
  std::size_t combinations = 1;
  for (const Dimension& dimension : dimensions) combinations *= dimension.values.size() + 1;
  if (combinations < 1000) grid_trials(dimensions);
}

}  // namespace

std::vector<Target> experiment_targets() {
  return {
      {"study",
       [] {
         return std::vector<std::string>{
             R"({"name": "s", "title": "T", "source": "P", "notes": "N", "corpora": ["meld", "emorynlp"], "seeds": [1, 2],
             "prepare": {"recipe": "window"}, "published_base": "llama2", "train": {"learning-rate": 2e-4, "lora-targets": ["q", "v"]},
             "rows": [{"name": "a", "title": "A", "prepare": {"history": 12, "recipe": null, "label-map": "../labels.json"},
             "train": {"epochs": 1.5}, "stages": [{"prepare": {"recipe": "speaker"}, "train": {"recompute": true}}],
             "published": {"llama2": {"meld": 69.15, "emorynlp": 41}}},
             {"name": "b", "train": false, "mixed": true, "evaluate": {"decode": "greedy"}}]})"};
       },
       [](const std::string& input) { Study::parse(input, "study", "/folder"); }},
      {"command-options",
       [] {
         return std::vector<std::string>{"--epochs 1 --recompute --lora-targets 'q,v'", "--lora-rank 2.5"};
       },
       [](const std::string& input) { parse_command_options(input, "--train-options"); }},
      {"dimensions",
       [] {
         return std::vector<std::string>{"lora-rank=4,8; learning-rate=log:1e-5..1e-3", "a=1..2",
                                         "epochs=1,2"};
       },
       read_dimensions},
      {"machine",
       [] {
         std::vector<std::string> seeds;
         for (const ShippedMachine& machine : shipped_machines()) seeds.emplace_back(machine.text);
         return seeds;
       },
       [](const std::string& input) { parse_machine(input, "machine"); }},
      {"benchmark",
       [] {
         return std::vector<std::string>{
             R"({"version": "1", "machine": "m", "copy_bytes_per_second": 1e9, "matmul_flops_per_second": 1e11,
             "measurements": [{"group": "g", "name": "n", "shape": "2x3", "seconds": 1e-3, "bytes": 100, "flops": 1e6}]})"};
       },
       [](const std::string& input) {
         const BenchmarkRun run = read_benchmark(file("benchmark.json", input));
         comparison_table(run, run);
       }},
      {"trainer-log",
       [] {
         return std::vector<std::string>{
             std::string(log_line) + "{\"current_steps\": 1, \"eval_loss\": 1, \"eval_weighted_f1\": 0.5}\n"};
       },
       read_log},
      {"train-results",
       [] {
         return std::vector<std::string>{
             R"({"finished": true, "steps": 3, "train_runtime": 1.5, "tokens_per_second": 9, "peak_resident_bytes": 100, "best_dev_metric": 0.5})"};
       },
       read_training_results},
      {"eval-results",
       [] {
         const Scores scores({"joy", "anger"}, std::vector<Prediction>{{0, 1}, {1, 1}});
         return std::vector<std::string>{
             nlohmann::ordered_json{{"split", "test"},
                                    {"adapter", "a"},
                                    {"results", {{"base", scores.to_json()}, {"adapter", scores.to_json()}}}}
                 .dump(1),
             R"({"split": "test", "predicted": {"base": {"joy": 3}}})"};
       },
       read_evaluation_results},
      {"reported-predictions",
       [] {
         return std::vector<std::string>{
             to_json_lines(std::vector<AnsweredUtterance>{{{"meld", "test", "0", "1"},
                                                           "Ann",
                                                           "Hi!",
                                                           "joy",
                                                           "anger",
                                                           {{"joy", -1.5}, {"anger", -0.5}},
                                                           {},
                                                           true}})};
       },
       read_report_predictions},
      {"sweep", [] { return std::vector<std::string>{sweep_seed()}; }, read_sweep},
  };
}

}  // namespace chorus::fuzz
