#include <filesystem>

#include <fmt/format.h>

#include "core/files.h"
#include "data/corpora/corpus.h"
#include "data/corpus_statistics.h"
#include "data/dataset_statistics.h"
#include "data/leakage.h"
#include "data/split_files.h"
#include "data/words.h"
#include "launch/commands.h"
#include "launch/console.h"

namespace chorus::command {
namespace {

namespace fs = std::filesystem;

struct Choices {
  std::vector<std::string> inputs;
  std::string corpus, output;
  bool skip_bad_rows = false, leakage = false;
  std::int64_t leakage_words = 6;
};

void bind(OptionTable& table, Choices& choices) {
  table
      .positional(
          "input", choices.inputs,
          "with --corpus: its folder; with --leakage: two corpora, NAME=FOLDER each; else data sets that "
          "prepare wrote, SPLIT.h5 or their folder")
      .required()
      .shown_as("PATH");
  table.add("corpus", choices.corpus, "layout of the folder: " + joined(dialogue_corpora(), ", "))
      .shown_as("NAME");
  table.add("skip-bad-rows", choices.skip_bad_rows, "count malformed rows instead of stopping");

  table.group("What corpora share");
  table.add("leakage", choices.leakage, "count the test utterances of each that the other holds as well");
  table.add("leakage-words", choices.leakage_words, "compare utterances with at least so many words")
      .at_least(1);
  table.add("output", choices.output, "new file for these utterances, as JSON lines").shown_as("FILE");
}

void check(const Choices& choices, const OptionTable& table) {
  require<ConfigurationError>(
      !choices.leakage || choices.corpus.empty(),
      "--leakage takes the names of corpora with their folders, as in meld=FOLDER: leave "
      "--corpus out");
  for (const char* option : {"leakage-words", "output"}) {
    require<ConfigurationError>(choices.leakage || !table.changed(option), "--", option,
                                " is for --leakage: give both, or leave it out");
  }
  const bool one_folder = choices.corpus.empty() || choices.inputs.size() == 1;
  require<ConfigurationError>(one_folder, "--corpus ", choices.corpus, " takes one folder, not ",
                              choices.inputs.size());
  require<ConfigurationError>(
      !choices.leakage || choices.inputs.size() == 2,
      "--leakage compares two corpora, as in meld=FOLDER emorynlp=FOLDER; given: ", choices.inputs.size());
  require<ConfigurationError>(choices.output.empty() || !fs::exists(choices.output), "--output ",
                              choices.output,
                              " exists already and is not overwritten; remove it or choose another name");
}

// Without the line break at its end, which the console adds.
void print_table(std::string table) {
  while (table.ends_with('\n')) table.pop_back();
  Console().print(table);
}

void print_corpus(const Choices& choices) {
  std::vector<SplitLedger> ledgers;
  const Corpus corpus = read_corpus(choices.corpus, choices.inputs[0], {choices.skip_bad_rows}, ledgers);
  for (const CorpusSplit& split : corpus.splits)
    Console().print(fmt::format("{}: {}", split.name, split.file));
  print_table(statistics_of(corpus, ledgers).to_table());
}

Corpus read_named_corpus(const std::string& input, const CorpusOptions& options) {
  const std::size_t equals = input.find('=');
  require<ConfigurationError>(equals != std::string::npos, "'", input, "' is not NAME=FOLDER; the names are ",
                              joined(dialogue_corpora(), ", "));
  std::vector<SplitLedger> ledgers;
  return read_corpus(input.substr(0, equals), input.substr(equals + 1), options, ledgers);
}

void print_leakage(const Choices& choices) {
  const Corpus first = read_named_corpus(choices.inputs[0], {choices.skip_bad_rows});
  const Corpus second = read_named_corpus(choices.inputs[1], {choices.skip_bad_rows});
  const std::vector<LeakageReport> reports{find_leakage(first, second, choices.leakage_words),
                                           find_leakage(second, first, choices.leakage_words)};
  if (!choices.output.empty()) write_file_atomically(choices.output, to_json_lines(reports));
  print_table(to_table(reports));
}

// The data sets of a folder, train, dev and test first; or the file itself.
std::vector<fs::path> data_set_files(const std::string& input) {
  if (!fs::is_directory(input)) return {input};
  std::vector<fs::path> files = split_files(input, ".h5");
  require<DataError>(!files.empty(), input,
                     ": holds no data set, SPLIT.h5; to inspect a corpus, say which by --corpus NAME");
  return files;
}

void print_data_sets(const Choices& choices) {
  std::vector<DatasetStatistics> statistics;
  for (const std::string& input : choices.inputs) {
    for (const fs::path& file : data_set_files(input)) {
      Console().print(file.string());
      statistics.push_back(statistics_of(Dataset::read(file.string())));
    }
  }
  print_table(to_table(statistics));
}

}  // namespace

int inspect(const Arguments& arguments) {
  Choices choices;
  OptionTable table("inspect",
                    "prints what a corpus or prepared data sets hold, or what two corpora have in common");
  bind(table, choices);
  if (!table.parse(arguments)) return static_cast<int>(ExitCode::done);
  check(choices, table);
  if (choices.leakage) {
    print_leakage(choices);
  } else if (!choices.corpus.empty()) {
    print_corpus(choices);
  } else {
    print_data_sets(choices);
  }
  return static_cast<int>(ExitCode::done);
}

}  // namespace chorus::command
