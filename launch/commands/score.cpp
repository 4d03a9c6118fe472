#include <filesystem>
#include <optional>

#include <nlohmann/json.hpp>

#include "data/text/files.h"
#include "experiments/studies/comparison.h"
#include "launch/commands/commands.h"
#include "launch/process/console.h"

namespace chorus::command {
namespace {

struct Options {
  std::vector<std::string> files, against;
  std::string combine, exclude, output;
  BootstrapOptions bootstrap;
};

std::vector<AnsweredRun> read_runs(const std::vector<std::string>& files) {
  std::vector<AnsweredRun> runs;
  for (const std::string& file : files) runs.push_back({file, read_predictions(file)});
  return runs;
}

// Prints and returns what there is to say of these runs; `together`, what they answer by the mean of their scores, and
// `against` may be empty.
nlohmann::ordered_json report(const Options& options, std::span<const AnsweredRun> runs,
                              std::span<const AnsweredRun> together, std::span<const AnsweredRun> against,
                              Console& console) {
  const RunGroup group = score_runs(runs);
  console.print(to_table(group));
  console.print(fmt::format("{}:\n{}",
                            runs.size() > 1 ? "the predictions of all runs together" : group.runs[0].name,
                            group.pooled.to_table()));
  nlohmann::ordered_json json = to_json(group);
  if (!together.empty()) {
    const RunGroup scored = score_runs(together);
    console.print("by the mean of their scores:\n" + to_table(scored) + scored.pooled.to_table());
    json["combined"] = to_json(scored);
  }
  if (against.empty()) return json;
  const RunGroup others = score_runs(against);
  const PairedBootstrap comparison = paired_bootstrap(runs, against, options.bootstrap);
  console.print("against:\n" + to_table(others));
  console.print(to_text(comparison));
  json["against"] = to_json(others);
  json["comparison"] = to_json(comparison);
  return json;
}

// Removes the listed utterances from aligned runs, and says how many.
nlohmann::ordered_json exclude(const std::string& file, std::vector<AnsweredRun>& runs, Console& console) {
  std::optional<Exclusion> exclusion;
  for (AnsweredRun& run : runs) {
    exclusion.emplace(file);
    std::erase_if(run.utterances,
                  [&](const AnsweredUtterance& utterance) { return exclusion->excludes(utterance.key); });
    require<DataError>(!run.utterances.empty(), "--exclude ", file, " leaves no utterance of ", run.name);
  }
  console.print(exclusion->describe());
  return exclusion->to_json();
}

ExitCode run(const Options& options) {
  if (!options.output.empty()) begin_new_file(options.output, "--output");
  if (!options.combine.empty()) begin_new_file(options.combine, "--combine");
  std::vector<AnsweredRun> runs = read_runs(options.files);
  for (AnsweredRun& run : read_runs(options.against)) runs.push_back(std::move(run));
  align(runs);
  const std::size_t own = options.files.size(), against = options.against.size();
  if (!options.combine.empty()) {
    runs.push_back(combined(std::span(runs).first(own), options.combine));
    write_predictions(options.combine, runs.back().utterances);
  }
  const auto say = [&](Console& console) {
    const std::span<const AnsweredRun> all = runs;
    return report(options, all.first(own), all.subspan(own + against), all.subspan(own, against), console);
  };
  Console console;
  nlohmann::ordered_json json = say(console);
  if (!options.exclude.empty()) {
    nlohmann::ordered_json excluded = exclude(options.exclude, runs, console);
    excluded["scores"] = say(console);
    json["without_excluded"] = std::move(excluded);
  }
  if (!options.output.empty()) write_file_atomically(options.output, json.dump(2) + "\n");
  return ExitCode::done;
}

}  // namespace

ExitCode score(const Arguments& arguments) {
  Options options;
  OptionTable table("score", "scores files of predictions, one per seed, and compares them with others");
  table.positional("predictions", options.files, "predictions.jsonl of `chorus evaluate`, one per seed")
      .required()
      .shown_as("FILE");
  table.add("against", options.against, "predictions of the other configuration, for a paired bootstrap")
      .shown_as("FILE,...");
  table
      .add("combine", options.combine,
           "also answer by the mean of the files' scores of each label, and write that as predictions")
      .shown_as("FILE");
  table.add("exclude", options.exclude, "JSON lines of utterances; also scores what remains without them")
      .shown_as("FILE");
  table.add("samples", options.bootstrap.samples, "resamples of the bootstrap").at_least(1);
  table.add("seed", options.bootstrap.seed, "of the resamples");
  table.add("output", options.output, "also write the numbers as JSON").shown_as("FILE");
  if (!table.parse(arguments)) return ExitCode::done;
  return run(options);
}

}  // namespace chorus::command
