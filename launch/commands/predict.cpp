#include <algorithm>
#include <iostream>
#include <iterator>
#include <utility>

#include <nlohmann/json.hpp>

#include "data/corpora/written_dialogues.h"
#include "data/text/files.h"
#include "data/text/text_file.h"
#include "launch/commands/asked_model.h"
#include "launch/commands/commands.h"
#include "ops/base/hash.h"
#include "parallel/mpi_session.h"

namespace chorus::command {

namespace {

struct Options {
  std::string input, output;
  AskOptions ask;
};

constexpr const char* standard = "-";  // input or output

std::vector<Dialogue> read_dialogues(const std::string& input) {
  if (input != standard) return parse_written_dialogues(read_unchecked_text(input), input);
  require<ConfigurationError>(!started_by_mpi(),
                              "a launcher gives the standard input to one rank only: name a file");
  const std::string text(std::istreambuf_iterator<char>(std::cin), {});
  return parse_written_dialogues(text, "standard input");
}

std::uint64_t content_hash(const std::vector<Dialogue>& dialogues) {
  Fnv1a hash;
  for (const Dialogue& dialogue : dialogues) {
    for (const Utterance& utterance : dialogue.utterances) {
      for (const std::string* part : {&dialogue.id, &utterance.id, &utterance.speaker, &utterance.text})
        hash.add_array(*part);
      for (const SideText& side : utterance.side) hash.add_array(side.name).add_array(*side.text);
    }
  }
  return hash.value();
}

using Json = nlohmann::ordered_json;

std::string to_json_lines(const std::vector<AskedLine>& lines) {
  std::string text;
  for (const AskedLine& line : lines) {
    Json json{{"dialogue", line.dialogue},
              {"utterance", line.utterance},
              {"speaker", line.speaker},
              {"text", line.text},
              {"label", line.label.empty() ? Json(nullptr) : Json(line.label)}};
    for (const auto& [label, probability] : line.probabilities) json["probabilities"][label] = probability;
    text += json.dump() + "\n";
  }
  return text;
}

constexpr std::string_view no_label_shown = "(no label)";

// Label, its probability, and the line; an empty line between two dialogues.
std::string to_table(const std::vector<AskedLine>& lines) {
  const auto shown = [](const AskedLine& line) {
    return line.label.empty() ? no_label_shown : std::string_view(line.label);
  };
  std::size_t width = 0;
  for (const AskedLine& line : lines) width = std::max(width, shown(line).size());
  std::string text;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0 && lines[i].dialogue != lines[i - 1].dialogue) text += "\n";
    text += fmt::format("{:<{}} {:>4.0f} %  {}: {}\n", shown(lines[i]), width,
                        100 * lines[i].probabilities[0].second, lines[i].speaker, lines[i].text);
  }
  const auto ties = std::ranges::count(lines, "", &AskedLine::label);
  if (ties > 0)
    text += fmt::format("\n{} of {} lines have no label: several are the most probable, exactly alike\n",
                        ties, lines.size());
  text.pop_back();
  return text;
}

ExitCode run(const Options& options, const OptionTable& table, const MakeRuntime& make_runtime) {
  const std::vector<Dialogue> dialogues = read_dialogues(options.input);
  SharedFacts facts = facts_of(table, {"base", "adapter", "data", "input", "output"});
  add_content(facts, "input", content_hash(dialogues));
  AskedModel model(options.ask, form_of(options.ask), std::move(facts), make_runtime);
  if (!options.output.empty() && options.output != standard && model.runtime().is_first())
    begin_new_file(options.output, "--output");
  Console& console = model.runtime().console();
  const std::vector<AskedLine> lines =
      model.ask(dialogues, false,
                [&](std::int64_t done, std::int64_t total) { console.progress("dialogues", done, total); });
  console.finish();
  if (options.output == standard) {
    std::string text = to_json_lines(lines);
    text.pop_back();
    console.print(text);
    return ExitCode::done;
  }
  console.print(to_table(lines));
  if (!options.output.empty() && model.runtime().is_first())
    write_file_atomically(options.output, to_json_lines(lines));
  return ExitCode::done;
}

}  // namespace

ExitCode predict(const Arguments& arguments) {
  return run_on_ranks("chorus predict", [&](const MakeRuntime& make_runtime) {
    Options options;
    OptionTable table("predict", "labels the lines of dialogues that have no labels");
    table
        .positional(
            "input", options.input,
            "lines SPEAKER: WORDS with an empty line between two dialogues, or JSON lines as of the corpus "
            "jsonl; -: standard input")
        .required()
        .shown_as("FILE");
    table
        .add("output", options.output,
             "also write labels and probabilities to this new file as JSON lines; -: print these instead")
        .shown_as("FILE");
    add_asking(table, options.ask);
    if (!table.parse(arguments)) return ExitCode::done;
    return run(options, table, make_runtime);
  });
}

}  // namespace chorus::command
