#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>

#include <fmt/format.h>

#include "launch/commands/commands.h"
#include "launch/options/nearest_name.h"
#include "launch/process/fatal_signals.h"
#include "launch/process/report_error.h"
#include "launch/process/runtime.h"
#include "launch/process/stop_signals.h"
#include "launch/process/version.h"
#include "ops/base/error.h"

namespace chorus {
namespace {

struct Ways {
  bool stops_in_order = false;  // when a signal asks for it; the others end at once
  bool writes_folder = false;   // so that its work has worth where nobody reads what it says
  bool on_ranks = false;        // mpirun may start several
};

struct Command {
  std::string_view name;
  std::string_view summary;
  ExitCode (*run)(const Arguments& arguments);
  Ways ways = {};
};

constexpr Ways computes{.on_ranks = true};
constexpr Ways answers{.stops_in_order = true, .on_ranks = true};
constexpr Ways fills_folder{.stops_in_order = true, .writes_folder = true, .on_ranks = true};
constexpr Ways starts_others{.stops_in_order = true, .writes_folder = true};

// In the order of a first run.
constexpr std::array commands{
    Command{"sample", "writes a synthetic dialogue corpus to try everything with", command::sample},
    Command{"tokenizer", "trains a SentencePiece tokenizer on text files, or applies any",
            command::tokenizer},
    Command{"init", "writes a small untrained base", command::init},
    Command{"inspect", "counts what a corpus or data set holds, and what corpora share", command::inspect},
    Command{"prepare", "turns dialogues, token lists or text into data sets for training", command::prepare,
            fills_folder},
    Command{"train", "fine-tunes a base with LoRA, or trains all of its weights", command::train,
            fills_folder},
    Command{"evaluate", "scores a base, with or without adapter, on a data set", command::evaluate, answers},
    Command{"predict", "labels the lines of dialogues that have no labels", command::predict, answers},
    Command{"chat", "labels each line of a dialogue as it is typed", command::chat, computes},
    Command{"generate", "continues a prompt", command::generate, answers},
    Command{"export",
            "merges an adapter into its base, or writes it for other programs",
            command::export_model,
            {.stops_in_order = true}},
    Command{"score", "scores files of predictions, and compares them with others", command::score},
    Command{"study", "runs a paper's table: prepares, trains and evaluates every row", command::study,
            starts_others},
    Command{"sweep", "searches options of train, a grid or at random, and scores the best", command::sweep,
            starts_others},
    Command{"report", "makes a page of curves, tables and predictions", command::report},
    Command{"plan", "tells memory, time and cost of a training before it runs", command::plan},
    Command{"slurm", "writes a batch script that trains on a Slurm cluster", command::slurm},
    Command{"doctor", "says what this machine has, and what would stop or slow a run", command::doctor,
            computes},
    Command{"bench", "measures operators, a training step and all-reduce", command::bench, computes},
    Command{"verify", "reads files to their last byte, and compares a training's steps with one rank's",
            command::verify, computes},
    Command{"completion", "makes a shell complete commands and options", command::completion},
};

std::string overview() {
  std::string text =
      "chorus fine-tunes LLaMA with LoRA on dialogues, tensor- and data-parallel\n\n"
      "usage: chorus COMMAND [CONFIG.ini] [--OPTION VALUE]...\n\n";
  for (const Command& command : commands) text += fmt::format("  {:<11}{}\n", command.name, command.summary);
  return text +
         "\nchorus COMMAND --help explains the options of a command; chorus --version says which Chorus this "
         "is\n";
}

const Command& find_command(const std::string& name) {
  const auto found = std::find_if(commands.begin(), commands.end(),
                                  [&](const Command& command) { return command.name == name; });
  if (found == commands.end()) {
    std::vector<std::string> names;
    for (const Command& command : commands) names.emplace_back(command.name);
    throw ConfigurationError(fmt::format("unknown command '{}'{} (chorus --help lists all)", name,
                                         suggestion("'", nearest_name(name, names), "'")));
  }
  return *found;
}

ExitCode run(const Arguments& words) {
  if (words.empty() || words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    std::fputs(overview().c_str(), stdout);
    return words.empty() ? ExitCode::configuration : ExitCode::done;
  }
  if (words[0] == "--version") {
    std::fputs(fmt::format("chorus {}\n{}", version(), build_description()).c_str(), stdout);
    return ExitCode::done;
  }
  const Command& command = find_command(words[0]);
  if (!command.ways.on_ranks) require_one_rank("chorus " + words[0]);
  if (command.ways.stops_in_order) catch_stop_signals();
  if (command.ways.writes_folder) outlive_readers();
  return command.run(Arguments(words.begin() + 1, words.end()));
}

// The whole program: what goes wrong is said, and is its exit code.
ExitCode run_and_report(const Arguments& words) {
  const std::string name = words.empty() || words[0].starts_with("-") ? "chorus" : "chorus " + words[0];
  try {
    take_signals_apart();
    explain_fatal_signals();
    return finish_streams(name, run(words));
  } catch (const std::exception& error) {
    return report_error(name, error);
  }
}

}  // namespace
}  // namespace chorus

int main(int argument_count, char** argument_values) {
  chorus::Arguments words;
  for (int i = 1; i < argument_count; ++i) words.emplace_back(argument_values[i]);
  return static_cast<int>(chorus::run_and_report(words));
}
