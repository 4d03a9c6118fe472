#include "data/prepare.h"

#include <algorithm>
#include <filesystem>
#include <limits>

#include <fmt/format.h>

#include "core/files.h"
#include "core/model_config.h"
#include "data/recipe.h"
#include "launch/commands.h"
#include "launch/console.h"

namespace chorus::command {
namespace {

struct Choices {
  PrepareOptions options;
  std::string base;
};

void bind(OptionTable& table, Choices& choices) {
  PrepareOptions& options = choices.options;
  std::string recipes;
  for (const ShippedRecipe& recipe : shipped_recipes())
    recipes += (recipes.empty() ? "" : ", ") + recipe.name;

  table
      .positional("input", options.inputs,
                  "meld: its folder; tokens, text: FILE for train, or SPLIT=FILE each")
      .required()
      .shown_as("PATH");
  table.add("output", options.output, "new folder for SPLIT.h5, ledger.json, config.ini")
      .required()
      .shown_as("DIR");
  table.choice(
      "corpus", options.corpus, {"meld", "tokens", "text"},
      "meld: CSV files of dialogues; tokens: JSON lines of input_ids and labels; text: plain paragraphs");
  table.add("skip-bad-rows", options.skip_bad_rows, "count malformed rows in the ledger instead of stopping");

  table.group("Tokens");
  table.add("base", choices.base, "base model that the data is for: gives tokenizer and vocabulary")
      .shown_as("DIR");
  table.add("tokenizer", options.tokenizer, "SentencePiece model, instead of the base's").shown_as("FILE");
  table.add("vocabulary-size", options.vocabulary_size, "of the base; 0: the base's, else the tokenizer's")
      .at_least(0);

  table.group("Prompts of dialogues");
  table.add("recipe", options.recipe, "how dialogues become prompts: " + recipes + ", or a file of your own")
      .shown_as("NAME|FILE");
  table
      .add("history", options.history,
           "previous lines that a prompt shows: a number or all; empty: as the recipe says")
      .shown_as("N|all");
  table
      .add("max-tokens", options.max_tokens,
           "a longer prompt loses its oldest lines; default: at most the base's positions; 0: no limit")
      .at_least(0);

  table.group("Text");
  table.add("context", options.context, "tokens of a sample").at_least(2);
}

void take_from_base(Choices& choices, const OptionTable& table) {
  PrepareOptions& options = choices.options;
  std::int64_t max_positions = std::numeric_limits<std::int64_t>::max();
  if (!choices.base.empty()) {
    const ModelConfig config = read_model_config(choices.base);
    const std::int64_t vocabulary_size = config.vocabulary_size;
    require<ConfigurationError>(options.vocabulary_size == 0 || options.vocabulary_size == vocabulary_size,
                                "--vocabulary-size is ", options.vocabulary_size, " but that of ",
                                choices.base, " is ", vocabulary_size, ": leave the option out");
    options.vocabulary_size = vocabulary_size;
    max_positions = config.max_positions;
    const std::filesystem::path tokenizer = std::filesystem::path(choices.base) / "tokenizer.model";
    if (options.tokenizer.empty() && std::filesystem::exists(tokenizer)) options.tokenizer = tokenizer;
  }
  require<ConfigurationError>(
      options.corpus == "tokens" || !options.tokenizer.empty(), "the ", options.corpus,
      " corpus needs a tokenizer: give --base with a tokenizer.model inside, or --tokenizer");
  require<ConfigurationError>(
      options.vocabulary_size > 0 || !options.tokenizer.empty(),
      "the tokens corpus needs to know the vocabulary: give --base or --vocabulary-size");
  require<ConfigurationError>(options.corpus == "text" || !table.changed("context"),
                              "--context is for the text corpus, this one is ", options.corpus,
                              ": leave it out");
  for (const char* option : {"recipe", "history", "max-tokens"}) {
    require<ConfigurationError>(options.corpus == "meld" || !table.changed(option), "--", option,
                                " is for dialogues, this corpus is ", options.corpus, ": leave it out");
  }
  if (!table.changed("max-tokens")) options.max_tokens = std::min(options.max_tokens, max_positions);
  if (!table.changed("context")) options.context = std::min(options.context, max_positions);
}

}  // namespace

int prepare(const Arguments& arguments) {
  Choices choices;
  OptionTable table("prepare",
                    "turns a corpus into prompts, tokens and data sets, and accounts for every row");
  bind(table, choices);
  if (!table.parse(arguments)) return static_cast<int>(ExitCode::done);
  const std::string effective = table.print_effective();
  take_from_base(choices, table);

  Console console;
  const Ledger ledger =
      chorus::prepare(choices.options, [&](std::string_view what, std::int64_t done, std::int64_t total) {
        console.progress(what, done, total);
      });
  console.finish();
  write_file_atomically(std::filesystem::path(choices.options.output) / "config.ini", effective);
  std::string lines = ledger.to_table();
  while (lines.ends_with('\n')) lines.pop_back();
  console.print(lines);
  console.print(fmt::format("the data sets are in {}", choices.options.output));
  return static_cast<int>(ExitCode::done);
}

}  // namespace chorus::command
