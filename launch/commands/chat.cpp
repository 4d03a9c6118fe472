#include <array>
#include <functional>
#include <iostream>
#include <set>

#include <unistd.h>

#include "core/model/projector.h"
#include "data/corpora/written_dialogues.h"
#include "data/text/text.h"
#include "launch/commands/asked_model.h"
#include "launch/commands/commands.h"
#include "launch/commands/conversing_model.h"

namespace chorus::command {

namespace {

constexpr std::size_t labels_shown = 3;

// "  joy 81 %   neutral 12 %   surprise 3 %", behind "  (no label)" where the first are equally probable.
std::string describe(const AskedLine& line) {
  std::vector<std::string> labels;
  for (const auto& [label, probability] : line.probabilities) {
    if (labels.size() < labels_shown) labels.push_back(fmt::format("{} {:.0f} %", label, 100 * probability));
  }
  return (line.label.empty() ? "  (no label)  " : "  ") + joined(labels, "   ");
}

struct Options {
  AskOptions ask;
  ConversationOptions conversation;
};

constexpr std::array conversation_options{"system", "max-new-tokens", "temperature", "seed"};

bool is_terminal() { return isatty(STDIN_FILENO) == 1; }

// Calls `say` with each line that is typed, and `begin_anew` for an empty one. On a terminal, what is wrong with a line is said
// and ends nothing.
void read_typed(Runtime& runtime, const std::string& greeting, const std::function<void()>& begin_anew,
                const std::function<std::string(const std::string& line, std::int64_t number)>& say) {
  require<ConfigurationError>(runtime.groups().groups().world.size() == 1,
                              "chat reads what one person types: start it without mpirun");
  if (is_terminal()) runtime.console().print(greeting);
  std::int64_t number = 0;
  for (std::string line; std::getline(std::cin, line);) {
    ++number;
    if (is_blank(line)) {
      begin_anew();
      continue;
    }
    std::string answer;
    try {
      answer = say(line, number);
    } catch (const DataError& error) {  // a slip of the keyboard ends no conversation
      if (!is_terminal()) throw;
      answer = error.what();
    }
    runtime.console().print((is_terminal() ? "" : line + "\n") + answer);
  }
}

void label(const AskOptions& options, const PromptForm& form, const OptionTable& table,
           const MakeRuntime& make_runtime) {
  const std::set<std::string> needed = form.recipe.needed_side_texts();
  require<ConfigurationError>(
      needed.empty(), "recipe ", form.recipe.name, " shows {", needed.empty() ? "" : *needed.begin(),
      "}, which lines that are typed do not have: use `chorus predict` with JSON lines");
  AskedModel model(options, form, facts_of(table, {"base", "adapter", "data"}), make_runtime);
  if (form.recipe.has(Recipe::PartKind::future))
    model.runtime().console().print(
        fmt::format("Recipe {} also shows lines after the one asked about: while you type there are none, "
                    "and the labels are without them.",
                    form.recipe.name));
  Dialogue dialogue{"0", {}};
  read_typed(
      model.runtime(), "Type SPEAKER: WORDS. An empty line begins another dialogue, Ctrl-D ends.",
      [&] { dialogue.utterances.clear(); },
      [&](const std::string& line, std::int64_t number) {
        dialogue.utterances.push_back(parse_written_line(line, "line", number));
        dialogue.utterances.back().id = std::to_string(dialogue.utterances.size() - 1);
        return describe(model.ask(std::span(&dialogue, 1), true)[0]);
      });
}

void converse(const Options& options, const ChatTemplate& form, const OptionTable& table,
              const MakeRuntime& make_runtime) {
  ConversingModel model(options.ask, options.conversation, form, facts_of(table, {"base", "adapter", "data"}),
                        make_runtime);
  const std::string& trained =
      options.ask.model.adapter.empty() ? options.ask.model.base : options.ask.model.adapter;
  if (find_projector(trained))
    model.runtime().console().print(
        "the projector in " + trained +
        " is left out: what is typed has no features, and is answered by its words");
  read_typed(
      model.runtime(), "Type what you say. An empty line begins another conversation, Ctrl-D ends.",
      [&] { model.begin_anew(); },
      [&](const std::string& line, std::int64_t) {
        std::string answer = model.answer(line);
        if (model.forgotten() > 0)
          answer += fmt::format(
              "\n(without the first {}, for which there was no room)",
              model.forgotten() == 1 ? "exchange" : fmt::format("{} exchanges", model.forgotten()));
        return answer;
      });
}

ExitCode run(const Options& options, const OptionTable& table, const MakeRuntime& make_runtime) {
  const PromptForm form = form_of(options.ask);
  for (const char* option : conversation_options) {
    require<ConfigurationError>(form.chat || !table.changed(option), "--", option,
                                " is for models trained on conversations with an assistant; this one labels "
                                "lines by recipe ",
                                form.recipe.name, ": leave it out");
  }
  if (form.chat) {
    converse(options, *form.chat, table, make_runtime);
  } else {
    label(options.ask, form, table, make_runtime);
  }
  return ExitCode::done;
}

}  // namespace

ExitCode chat(const Arguments& arguments) {
  return run_on_ranks("chorus chat", [&](const MakeRuntime& make_runtime) {
    Options options;
    ConversationOptions& conversation = options.conversation;
    OptionTable table(
        "chat",
        "labels each line of a dialogue as it is typed, or, of a model trained on conversations "
        "with an assistant, answers it");
    add_asking(table, options.ask);
    table.group("Conversations with an assistant");
    table.add("system", conversation.system, "system prompt; empty: none");
    table.add("max-new-tokens", conversation.max_new_tokens, "of an answer").at_least(1);
    table
        .add("temperature", conversation.temperature,
             "of the probabilities by which tokens are drawn; 0: always the most probable")
        .at_least(0);
    table.add("seed", conversation.seed, "of the draws");
    if (!table.parse(arguments)) return ExitCode::done;
    return run(options, table, make_runtime);
  });
}

}  // namespace chorus::command
