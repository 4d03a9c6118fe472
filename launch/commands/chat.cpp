#include <iostream>

#include <unistd.h>

#include "data/corpora/written_dialogues.h"
#include "data/text/text.h"
#include "launch/commands/asked_model.h"
#include "launch/commands/commands.h"

namespace chorus::command {

namespace {

constexpr std::size_t labels_shown = 3;

// "  joy 81 %   neutral 12 %   surprise 3 %"
std::string describe(const AskedLine& line) {
  std::vector<std::string> labels;
  for (const auto& [label, probability] : line.probabilities) {
    if (labels.size() < labels_shown) labels.push_back(fmt::format("{} {:.0f} %", label, 100 * probability));
  }
  return "  " + joined(labels, "   ");
}

int run(const AskOptions& options, const OptionTable& table, const MakeRuntime& make_runtime) {
  AskedModel model(options, facts_of(table, {"base", "adapter", "data"}), make_runtime);
  Runtime& runtime = model.runtime();
  require<ConfigurationError>(runtime.groups().groups().world.size() == 1,
                              "chat reads what one person types: start it without mpirun");
  const bool is_terminal = isatty(STDIN_FILENO) == 1;
  if (is_terminal)
    runtime.console().print("Type SPEAKER: WORDS. An empty line begins another dialogue, Ctrl-D ends.");
  Dialogue dialogue{"0", {}};
  std::int64_t number = 0;
  for (std::string line; std::getline(std::cin, line);) {
    ++number;
    if (is_blank(line)) {
      dialogue.utterances.clear();
      continue;
    }
    try {
      dialogue.utterances.push_back(parse_written_line(line, "line", number));
    } catch (const DataError& error) {  // a slip of the keyboard ends no conversation
      if (!is_terminal) throw;
      runtime.console().print(error.what());
      continue;
    }
    dialogue.utterances.back().id = std::to_string(dialogue.utterances.size() - 1);
    const std::vector<AskedLine> asked = model.ask(std::span(&dialogue, 1), true);
    runtime.console().print((is_terminal ? "" : line + "\n") + describe(asked[0]));
  }
  return static_cast<int>(ExitCode::done);
}

}  // namespace

int chat(const Arguments& arguments) {
  return run_on_ranks("chorus chat", [&](const MakeRuntime& make_runtime) {
    AskOptions options;
    OptionTable table("chat", "labels each line of a dialogue as it is typed");
    add_asking(table, options);
    if (!table.parse(arguments)) return static_cast<int>(ExitCode::done);
    return run(options, table, make_runtime);
  });
}

}  // namespace chorus::command
