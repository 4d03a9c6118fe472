#include <algorithm>
#include <filesystem>
#include <optional>
#include <span>

#include <fmt/format.h>

#include "data/corpora/corpus.h"
#include "data/corpora/corpus_statistics.h"
#include "data/corpora/leakage.h"
#include "data/prompts/chat_writer.h"
#include "data/prompts/tokenizer.h"
#include "data/sets/data_split.h"
#include "data/sets/dataset_statistics.h"
#include "data/text/files.h"
#include "data/text/text.h"
#include "launch/commands/commands.h"
#include "launch/process/console.h"

namespace chorus::command {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> inputs;
  std::string corpus, output, base, tokenizer;
  std::int64_t show = 0;
  bool skip_bad_rows = false, leakage = false;
  std::int64_t leakage_words = 6;
};

void bind(OptionTable& table, Options& options) {
  table
      .positional(
          "input", options.inputs,
          "with --corpus: its folder; with --leakage: two corpora, NAME=FOLDER each; else data sets that "
          "prepare wrote, SPLIT.h5 or their folder")
      .required()
      .shown_as("PATH");
  table.add("corpus", options.corpus, "layout of the folder: " + joined(dialogue_corpora(), ", "))
      .shown_as("NAME");
  table.add("skip-bad-rows", options.skip_bad_rows, "count malformed rows instead of stopping");

  table.group("Prompts of data sets");
  table.add("show", options.show, "print so many prompts of each data set, with their right answers")
      .at_least(0);
  table.add("base", options.base, "base whose tokenizer they were made with").shown_as("DIR");
  table.add("tokenizer", options.tokenizer, "tokenizer.model or tokenizer.json, instead of the base's")
      .shown_as("FILE");

  table.group("What corpora share");
  table.add("leakage", options.leakage, "count the test utterances of each that the other holds as well");
  table.add("leakage-words", options.leakage_words, "compare utterances with at least so many words")
      .at_least(1);
  table.add("output", options.output, "new file for these utterances, as JSON lines").shown_as("FILE");
}

void check(const Options& options, const OptionTable& table) {
  require<ConfigurationError>(
      !options.leakage || options.corpus.empty(),
      "--leakage takes the names of corpora with their folders, as in meld=FOLDER: leave "
      "--corpus out");
  for (const char* option : {"leakage-words", "output"}) {
    require<ConfigurationError>(options.leakage || !table.changed(option), "--", option,
                                " is for --leakage: give both, or leave it out");
  }
  const bool data_sets = options.corpus.empty() && !options.leakage;
  require<ConfigurationError>(
      options.show == 0 || (data_sets && !(options.base.empty() && options.tokenizer.empty())),
      "--show prints prompts of data sets that prepare wrote: it needs their --base or "
      "--tokenizer, and neither --corpus nor --leakage");
  const bool one_folder = options.corpus.empty() || options.inputs.size() == 1;
  require<ConfigurationError>(one_folder, "--corpus ", options.corpus, " takes one folder, not ",
                              options.inputs.size());
  require<ConfigurationError>(
      !options.leakage || options.inputs.size() == 2,
      "--leakage compares two corpora, as in meld=FOLDER emorynlp=FOLDER; given: ", options.inputs.size());
  if (!options.output.empty()) begin_new_file(options.output, "--output");
}

// The line break at the table's end is left out: the console adds one.
void print_table(std::string table) {
  while (table.ends_with('\n')) table.pop_back();
  Console().print(table);
}

void print_corpus(const Options& options) {
  std::vector<SplitLedger> ledgers;
  const Corpus corpus = read_corpus(options.corpus, options.inputs[0], {options.skip_bad_rows}, ledgers);
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

void print_leakage(const Options& options) {
  const Corpus first = read_named_corpus(options.inputs[0], {options.skip_bad_rows});
  const Corpus second = read_named_corpus(options.inputs[1], {options.skip_bad_rows});
  const std::vector<LeakageReport> reports{find_leakage(first, second, options.leakage_words),
                                           find_leakage(second, first, options.leakage_words)};
  if (!options.output.empty()) write_file_atomically(options.output, to_json_lines(reports));
  print_table(to_table(reports));
}

// The splits of a folder, train, dev and test first.
std::vector<SplitFiles> required_splits(const std::string& folder) {
  std::vector<SplitFiles> splits = splits_in(folder);
  require<DataError>(!splits.empty(), folder,
                     ": holds no data set, SPLIT.h5; to inspect a corpus, say which by --corpus NAME");
  return splits;
}

// Words as they are, rows of features as [feature 12].
std::string text_of(std::span<const std::int32_t> tokens, const Tokenizer& tokenizer) {
  std::string text;
  while (!tokens.empty()) {
    if (is_feature(tokens[0])) {
      text += take_marked_features(tokens);
      continue;
    }
    const auto end = static_cast<std::size_t>(std::ranges::find_if(tokens, is_feature) - tokens.begin());
    text += tokenizer.decode(tokens.first(end));
    tokens = tokens.subspan(end);
  }
  return text;
}

void print_prompts(const Dataset& dataset, std::int64_t count, const Tokenizer& tokenizer) {
  require<ConfigurationError>(dataset.origin.tokenizer_hash == tokenizer.hash(), "--show: the ",
                              dataset.origin.split, " split was made with another tokenizer");
  for (std::size_t i = 0; i < dataset.samples.size() && count > 0; ++i) {
    const Sample& sample = dataset.samples[i];
    const UtteranceReference* utterance =
        sample.utterance < 0 ? nullptr : &dataset.utterances[static_cast<std::size_t>(sample.utterance)];
    if (utterance != nullptr && sample.answer != utterance->label) continue;
    --count;
    const Sequence sequence = dataset.sequence(static_cast<std::int64_t>(i));
    if (utterance == nullptr) {
      Console().print(fmt::format("\n--- {}: sample {}, {} tokens, learned between « and »\n{}",
                                  dataset.origin.split, i, sequence.tokens.size(),
                                  marked_text(sequence, tokenizer)));
      continue;
    }
    const auto answer = std::find_if(sequence.labels.begin(), sequence.labels.end(),
                                     [](std::int32_t label) { return label != unsupervised; }) -
                        sequence.labels.begin();
    const std::span tokens(sequence.tokens);
    const std::string what = fmt::format("dialogue {}, utterance {}", utterance->dialogue, utterance->id);
    Console().print(fmt::format("\n--- {}: {}, {} tokens, weight {}\n{}\n--> {}", dataset.origin.split, what,
                                tokens.size(), sample.weight,
                                text_of(tokens.first(static_cast<std::size_t>(answer)), tokenizer),
                                text_of(tokens.subspan(static_cast<std::size_t>(answer)), tokenizer)));
  }
}

void print_data_sets(const Options& options) {
  std::optional<Tokenizer> tokenizer;
  if (options.show > 0) {
    tokenizer = Tokenizer::load(options.tokenizer.empty() ? options.base : options.tokenizer);
  }
  std::vector<DatasetStatistics> statistics;
  const auto look_at = [&](const Dataset& dataset) {
    statistics.push_back(statistics_of(dataset));
    if (tokenizer) print_prompts(dataset, options.show, *tokenizer);
  };
  for (const std::string& input : options.inputs) {
    if (!fs::is_directory(input)) {
      Console().print(input);
      look_at(Dataset::read(input));
      continue;
    }
    for (const SplitFiles& split : required_splits(input)) {
      for (const fs::path& file : split.files) Console().print(file.string());
      look_at(read_whole(split));
    }
  }
  print_table(to_table(statistics));
}

}  // namespace

ExitCode inspect(const Arguments& arguments) {
  Options options;
  OptionTable table("inspect",
                    "prints what a corpus or prepared data sets hold, or what two corpora have in common");
  bind(table, options);
  if (!table.parse(arguments)) return ExitCode::done;
  check(options, table);
  if (options.leakage) {
    print_leakage(options);
  } else if (!options.corpus.empty()) {
    print_corpus(options);
  } else {
    print_data_sets(options);
  }
  return ExitCode::done;
}

}  // namespace chorus::command
