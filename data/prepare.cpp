#include "data/prepare.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <optional>
#include <unordered_map>
#include <utility>

#include <nlohmann/json.hpp>

#include "data/corpora/meld.h"
#include "data/dataset.h"
#include "data/prompt.h"
#include "data/text_file.h"
#include "data/tokenizer.h"
#include "data/words.h"
#include "ops/error.h"

namespace chorus {

namespace {

using Json = nlohmann::json;

struct Source {
  std::string split, path;
};

// "dev=FILE" or "FILE", which is train.
std::vector<Source> parse_sources(const std::vector<std::string>& inputs) {
  std::vector<Source> sources;
  for (const std::string& input : inputs) {
    const std::size_t equals = input.find('=');
    Source source = equals == std::string::npos || std::filesystem::exists(input)
                        ? Source{"train", input}
                        : Source{input.substr(0, equals), input.substr(equals + 1)};
    const bool good_name = !source.split.empty() && source.split.find_first_of("/\\.") == std::string::npos;
    require<ConfigurationError>(good_name, "input '", input, "': '", source.split,
                                "' cannot be the name of a split");
    for (const Source& other : sources) {
      require<ConfigurationError>(other.split != source.split, "inputs '", other.path, "' and '", source.path,
                                  "' are both for the split ", source.split,
                                  "; name them, as in dev=", source.path);
    }
    sources.push_back(std::move(source));
  }
  return sources;
}

void check_output(const std::string& output) {
  require<ConfigurationError>(!output.empty(), "--output is missing");
  const bool exists = std::filesystem::exists(output);
  require<ConfigurationError>(!exists || std::filesystem::is_directory(output), "--output ", output,
                              " exists and is not a folder");
  require<ConfigurationError>(!exists || std::filesystem::is_empty(output), "--output ", output,
                              " is not empty and is never overwritten; remove it or choose another folder");
}

// One run of prepare(): what its corpora have in common.
class Preparation {
 public:
  Preparation(const PrepareOptions& options, const PrepareProgress& progress)
      : options_(options), progress_(progress) {
    ledger_.corpus = options.corpus;
    if (!options.tokenizer.empty()) tokenizer_ = Tokenizer::load(options.tokenizer);
    const std::int64_t size = tokenizer_ ? tokenizer_->size() : 0;
    vocabulary_size_ = options.vocabulary_size > 0 ? options.vocabulary_size : size;
    require<ConfigurationError>(size <= vocabulary_size_, "tokenizer ", options.tokenizer, " has ", size,
                                " tokens but the model only ", vocabulary_size_,
                                "; they do not belong together");
  }

  void read_dialogues();
  void read_tokens();
  void read_text();
  Ledger write();

 private:
  const Tokenizer& tokenizer() const {
    require<ConfigurationError>(tokenizer_.has_value(), "corpus ", options_.corpus,
                                " needs a tokenizer; pass the model's tokenizer.model");
    return *tokenizer_;
  }
  DatasetOrigin origin(const std::string& split) const {
    DatasetOrigin origin;
    origin.corpora = {options_.corpus};
    origin.split = split;
    origin.tokenizer_hash = tokenizer_ ? tokenizer_->hash() : 0;
    origin.vocabulary_size = static_cast<std::int32_t>(vocabulary_size_);
    return origin;
  }
  void report(const std::string& what, std::int64_t done, std::int64_t total) const {
    if (progress_) progress_(what, done, total);
  }

  void add_dialogue(const Dialogue& dialogue, const CorpusSplit& split,
                    const std::vector<std::string>& labels, PromptWriter& writer, DatasetBuilder& builder,
                    SplitLedger& ledger);
  void finish(DatasetBuilder& builder, SplitLedger& ledger);

  PrepareOptions options_;
  PrepareProgress progress_;
  std::optional<Tokenizer> tokenizer_;
  std::int64_t vocabulary_size_ = 0;
  Ledger ledger_;
  std::vector<Dataset> datasets_;
};

void Preparation::finish(DatasetBuilder& builder, SplitLedger& ledger) {
  Dataset dataset = builder.finish();
  require<DataError>(!dataset.samples.empty(), "the ", ledger.split,
                     " split has no samples left: ", ledger.dropped_total(), " dropped, ", ledger.skipped(),
                     " rows skipped");
  ledger.samples = std::ssize(dataset.samples);
  ledger.trees = dataset.trees();
  ledger.tokens = std::ssize(dataset.tokens);
  ledger.unshared_tokens = dataset.unshared_tokens();
  ledger.supervised_tokens = std::ssize(dataset.targets);
  datasets_.push_back(std::move(dataset));
}

// --- dialogues
// ------------------------------------------------------------------------------------------------------

void Preparation::add_dialogue(const Dialogue& dialogue, const CorpusSplit& split,
                               const std::vector<std::string>& labels, PromptWriter& writer,
                               DatasetBuilder& builder, SplitLedger& ledger) {
  const bool for_training = split.name == "train";
  std::vector<GroupSample> samples;
  for (std::size_t turn = 0; turn < dialogue.utterances.size(); ++turn) {
    const Utterance& utterance = dialogue.utterances[turn];
    const auto gold =
        static_cast<std::int32_t>(std::find(labels.begin(), labels.end(), utterance.label) - labels.begin());
    std::vector<std::int32_t> answers{gold};
    if (!for_training) {
      answers.resize(labels.size());
      std::iota(answers.begin(), answers.end(), 0);
    }
    Prompts prompts = writer.write(dialogue, turn, answers, for_training && writer.recipe().supervise_all);
    if (prompts.sequences.empty()) {
      ++ledger.dropped[fmt::format("more than {} tokens without history", options_.max_tokens)];
      continue;
    }
    const std::int32_t index =
        builder.add_utterance({0, dialogue.id, utterance.id, utterance.speaker, utterance.text, gold});
    for (std::size_t i = 0; i < answers.size(); ++i) {
      ledger.longest_sample =
          std::max(ledger.longest_sample, std::int64_t{std::ssize(prompts.sequences[i].tokens)});
      samples.push_back({std::move(prompts.sequences[i]), index, answers[i]});
    }
    if (prompts.lines_cut > 0) ledger.shortened_samples += std::ssize(answers);
    ledger.lines_cut += prompts.lines_cut;
  }
  if (!samples.empty()) builder.add_group(samples, split.file + ": dialogue " + dialogue.id);
}

void Preparation::read_dialogues() {
  require<ConfigurationError>(options_.inputs.size() == 1, "corpus meld takes one folder, not ",
                              options_.inputs.size());
  Recipe recipe = Recipe::load(options_.recipe);
  if (!options_.history.empty()) recipe.history = parse_history(options_.history, "--history");
  ledger_.recipe = recipe.name;
  const Corpus corpus = read_meld(options_.inputs[0], {options_.skip_bad_rows}, ledger_.splits);
  PromptWriter writer(recipe, tokenizer(), corpus.labels, options_.max_tokens);
  for (std::size_t i = 0; i < corpus.splits.size(); ++i) {
    const CorpusSplit& split = corpus.splits[i];
    DatasetOrigin about = origin(split.name);
    about.recipe_name = recipe.name;
    about.recipe_text = recipe.json;
    about.labels = corpus.labels;
    about.label_words = writer.words();
    DatasetBuilder builder(std::move(about));
    std::int64_t done = 0;
    for (const Dialogue& dialogue : split.dialogues) {
      add_dialogue(dialogue, split, corpus.labels, writer, builder, ledger_.splits[i]);
      report(split.name, ++done, std::ssize(split.dialogues));
    }
    finish(builder, ledger_.splits[i]);
  }
}

// --- tokens
// ---------------------------------------------------------------------------------------------------------

std::vector<std::int32_t> parse_integers(const Json& object, const char* name, const std::string& where) {
  require<DataError>(object.contains(name), where, ": field '", name, "' is missing");
  const Json& array = object.at(name);
  require<DataError>(array.is_array(), where, ": field '", name, "' must be an array of integers");
  std::vector<std::int32_t> values;
  for (const Json& value : array) {
    const bool fits = value.is_number_integer() && std::abs(value.get<double>()) < 0x1p31;
    require<DataError>(fits, where, ": field '", name, "' holds ", value.dump(), ", which is no token");
    values.push_back(value.get<std::int32_t>());
  }
  return values;
}

struct TokenLine {
  Sequence sequence;
  std::string group;
};

TokenLine parse_token_line(const std::string& line, std::int64_t vocabulary_size, const std::string& where) {
  Json object;
  try {
    object = Json::parse(line);
  } catch (const Json::exception& error) {
    throw DataError(fmt::format("{}: is not valid JSON: {}", where, error.what()));
  }
  require<DataError>(object.is_object(), where, ": must be a JSON object");
  const std::vector<std::string> known{"input_ids", "labels", "group"};
  for (const auto& [name, value] : object.items()) {
    const bool is_known = std::find(known.begin(), known.end(), name) != known.end();
    require<DataError>(is_known, where, ": unknown field '", name, "'; did you mean '", nearest(name, known),
                       "'?");
  }
  TokenLine parsed;
  if (object.contains("group")) {
    require<DataError>(object["group"].is_string(), where, ": field 'group' must be a string");
    parsed.group = object["group"].get<std::string>();
  }
  parsed.sequence = {parse_integers(object, "input_ids", where), parse_integers(object, "labels", where)};
  validate(parsed.sequence, vocabulary_size, 0, where);
  return parsed;
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    if (lines.back().ends_with('\r')) lines.back().pop_back();
    begin = end + 1;
  }
  return lines;
}

void Preparation::read_tokens() {
  require<ConfigurationError>(vocabulary_size_ > 0, "corpus tokens needs a tokenizer or the vocabulary size");
  for (const Source& source : parse_sources(options_.inputs)) {
    SplitLedger& ledger = ledger_.splits.emplace_back();
    ledger.split = source.split;
    const std::vector<std::string> lines = split_lines(read_text_file(source.path));
    std::vector<std::vector<GroupSample>> groups;
    std::unordered_map<std::string, std::size_t> group_index;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const std::string where = fmt::format("{}:{}", source.path, i + 1);
      ++ledger.rows_read;
      try {
        TokenLine line = parse_token_line(lines[i], vocabulary_size_, where);
        const std::size_t index = line.group.empty()
                                      ? groups.size()
                                      : group_index.try_emplace(line.group, groups.size()).first->second;
        if (index == groups.size()) groups.emplace_back();
        ledger.longest_sample =
            std::max(ledger.longest_sample, std::int64_t{std::ssize(line.sequence.tokens)});
        groups[index].push_back({std::move(line.sequence)});
      } catch (const DataError&) {
        if (!options_.skip_bad_rows) throw;
        ++ledger.skipped_rows["malformed line"];
      }
      report(source.split, ledger.rows_read, std::ssize(lines));
    }
    DatasetBuilder builder(origin(source.split));
    for (const auto& group : groups) builder.add_group(group, source.path);
    finish(builder, ledger);
  }
}

// --- text
// -----------------------------------------------------------------------------------------------------------

// What stands between blank lines, without the line break at its end.
std::vector<std::string> split_paragraphs(const std::string& text) {
  std::vector<std::string> paragraphs;
  std::string paragraph;
  const auto close = [&] {
    if (!paragraph.empty()) paragraphs.push_back(std::exchange(paragraph, {}));
  };
  for (const std::string& line : split_lines(text)) {
    if (line.find_first_not_of(" \t") == std::string::npos) {
      close();
    } else {
      if (!paragraph.empty()) paragraph += '\n';
      paragraph += line;
    }
  }
  close();
  return paragraphs;
}

// Joins documents to sequences of at most `context` tokens. One that is longer is cut; each piece but the
// first repeats the token before it, unsupervised, so that every token is still predicted once.
class Packer {
 public:
  explicit Packer(std::int64_t context) : context_(static_cast<std::size_t>(context)) {}

  void add(const std::vector<std::int32_t>& document) {
    if (open_.size() + document.size() > context_) close();
    std::size_t begin = 0;
    while (open_.empty() && document.size() - begin > context_) {
      open_.assign(document.begin() + static_cast<std::ptrdiff_t>(begin),
                   document.begin() + static_cast<std::ptrdiff_t>(begin + context_));
      close();
      begin += context_ - 1;
    }
    open_.insert(open_.end(), document.begin() + static_cast<std::ptrdiff_t>(begin), document.end());
  }

  std::vector<Sequence> finish() {
    close();
    return std::move(sequences_);
  }

 private:
  void close() {
    if (open_.size() > 1) {
      Sequence sequence{open_, open_};
      sequence.labels[0] = unsupervised;
      sequences_.push_back(std::move(sequence));
    }
    open_.clear();
  }

  std::size_t context_;
  std::vector<std::int32_t> open_;
  std::vector<Sequence> sequences_;
};

void Preparation::read_text() {
  require<ConfigurationError>(options_.context >= 2, "--context is ", options_.context,
                              ", it must be at least 2");
  for (const Source& source : parse_sources(options_.inputs)) {
    SplitLedger& ledger = ledger_.splits.emplace_back();
    ledger.split = source.split;
    const std::vector<std::string> paragraphs = split_paragraphs(read_text_file(source.path));
    Packer packer(options_.context);
    for (const std::string& paragraph : paragraphs) {
      std::vector<std::int32_t> document = tokenizer().encode(paragraph);
      document.insert(document.begin(), tokenizer().bos());
      document.push_back(tokenizer().eos());
      packer.add(document);
      report(source.split, ++ledger.rows_read, std::ssize(paragraphs));
    }
    DatasetBuilder builder(origin(source.split));
    for (Sequence& sequence : packer.finish()) {
      ledger.longest_sample = std::max(ledger.longest_sample, std::int64_t{std::ssize(sequence.tokens)});
      builder.add_group(std::vector<GroupSample>{{std::move(sequence)}}, source.path);
    }
    finish(builder, ledger);
  }
}

Ledger Preparation::write() {
  const std::filesystem::path folder(options_.output);
  std::filesystem::create_directories(folder);
  for (const Dataset& dataset : datasets_) dataset.write((folder / (dataset.origin.split + ".h5")).string());
  write_new_file(folder / "ledger.json", ledger_.to_json());
  return ledger_;
}

}  // namespace

Ledger prepare(const PrepareOptions& options, const PrepareProgress& progress) {
  check_output(options.output);
  require<ConfigurationError>(!options.inputs.empty(), "corpus ", options.corpus, " needs an input");
  Preparation preparation(options, progress);
  if (options.corpus == "meld") {
    preparation.read_dialogues();
  } else if (options.corpus == "tokens") {
    preparation.read_tokens();
  } else if (options.corpus == "text") {
    preparation.read_text();
  } else {
    const std::vector<std::string> known{"meld", "tokens", "text"};
    throw ConfigurationError(fmt::format("--corpus '{}' is none of {}; did you mean '{}'?", options.corpus,
                                         joined(known, ", "), nearest(options.corpus, known)));
  }
  return preparation.write();
}

}  // namespace chorus
