#include "data/prepare.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/formats/model_config.h"
#include "data/corpora/corpus.h"
#include "data/prompts/chat_template.h"
#include "data/prompts/recipe.h"
#include "data/prompts/tokenizer.h"
#include "data/text/files.h"
#include "data/text/text_file.h"
#include "launch/commands/commands.h"
#include "launch/commands/line_vectors.h"
#include "launch/commands/model_setup.h"
#include "launch/process/console.h"
#include "launch/process/stop_signals.h"
#include "parallel/interruption.h"

namespace chorus::command {
namespace {

struct Options {
  PrepareOptions prepare;
  std::string base;
  std::int64_t shard_mib = 128;
  LineVectorOptions vectors;

  bool maps_lines() const {
    return prepare.demonstrations.count > 0 && prepare.demonstrations.retrieval == Retrieval::embedding;
  }
};

constexpr const char* vectors_title = "Vectors of --retrieval embedding";

std::string list(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ", ")); }

void add_input(OptionTable& table, Options& options) {
  PrepareOptions& prepare = options.prepare;
  std::vector<std::string> corpora = dialogue_corpora();
  const std::string dialogues = list(corpora);
  corpora.insert(corpora.end(), {"mixed", "messages", "tokens", "text"});
  table
      .positional(
          "input", prepare.inputs,
          "a corpus of dialogues: its path; mixed: CORPUS=PATH of each; messages, tokens, text: FILE for "
          "train, or SPLIT=FILE of each; messages: or a folder of SPLIT.jsonl")
      .required()
      .shown_as("PATH");
  table.add("output", prepare.output, "new folder for SPLIT.h5, ledger.json, config.ini")
      .required()
      .shown_as("DIR");
  table.choice("corpus", prepare.corpus, corpora,
               dialogues +
                   ": dialogues; mixed: several of these in one; messages: conversations with an assistant; "
                   "tokens: JSON lines of input_ids and labels; text: plain paragraphs");
  table.add("shard-size", options.shard_mib, "MiB of a file: a larger split is written in shards of so much")
      .between(1, 1 << 20);
  table.add("skip-bad-rows", prepare.skip_bad_rows, "count malformed rows in the ledger instead of stopping");

  table.group("Tokens");
  table.add("base", options.base, "base model that the data is for: gives tokenizer and vocabulary")
      .shown_as("DIR");
  table.add("tokenizer", prepare.tokenizer, "tokenizer.model or tokenizer.json, where no base is given")
      .shown_as("FILE");
  table.add("vocabulary-size", prepare.vocabulary_size, "of the base; 0: the base's, else the tokenizer's")
      .at_least(0);
  table.group("Text");
  table.add("context", prepare.context, "tokens of a sample").at_least(2);
  table.group("Token lists");
  table
      .add("lines-per-tree", prepare.lines_per_tree,
           "neighbours that begin alike share it, so many at most; 1: none do")
      .at_least(1);
}

void add_messages(OptionTable& table, PrepareOptions& options) {
  std::vector<std::string> templates;
  for (const ShippedChatTemplate& each : shipped_chat_templates()) templates.push_back(each.name);
  table.group("Conversations with an assistant");
  table
      .add(
          "chat-template", options.chat_template,
          "how they become texts, or what stands around the prompts of dialogues: " + list(templates) +
              ", or a file of your own; auto: as the tokenizer's files tell; empty: auto, and nothing around "
              "those of dialogues")
      .shown_as("NAME|FILE|auto");
  table.choice("loss-on", options.loss_on, {{"all", LossOn::all}, {"last", LossOn::last}},
               "of the assistant's turns: learn all, or the last of each conversation");
  table.add("system", options.system, "system prompt of conversations that have none");
}

void add_prompts(OptionTable& table, PrepareOptions& options) {
  std::vector<std::string> recipes;
  for (const ShippedRecipe& recipe : shipped_recipes()) recipes.push_back(recipe.name);
  table.group("Prompts of dialogues");
  table
      .add("recipe", options.recipe,
           "how dialogues become prompts: " + list(recipes) + ", or a file of your own")
      .shown_as("NAME|FILE");
  table
      .add("history", options.history,
           "previous lines that a prompt shows, one of --auxiliary too: a number or all; empty: as the "
           "recipe says")
      .shown_as("N|all");
  table.choice(
      "answer-end", options.answer_end,
      {{"as-recipe", AnswerEnd::as_recipe},
       {"end-of-text", AnswerEnd::end_of_text},
       {"none", AnswerEnd::none}},
      "whether the end of a text (</s>) follows an answer; none is for bases that never learned that token");
  table
      .add("max-tokens", options.max_tokens,
           "a longer prompt loses the lines farthest from the one asked about, a longer conversation is "
           "split; default: at most the base's positions; 0: no limit")
      .at_least(0);
  table.add("auxiliary", options.auxiliary, "a second recipe, asked as well while training, such as impact")
      .shown_as("NAME|FILE");
  table
      .add("auxiliary-weight", options.auxiliary_weight,
           "of its answers in the loss; those of the recipe have 1")
      .more_than(0);
  table
      .add("label-weights", options.label_weights,
           "of answers in the loss of training: a number for each label that is named, 1 for the others; "
           "balanced: "
           "n / (k n_label), so that all labels weigh the same")
      .shown_as("LABEL=W,...|balanced");
  table.choice("order", options.order,
               {{"as-read", DialogueOrder::as_read}, {"difficulty", DialogueOrder::difficulty}},
               "of the dialogues of train; difficulty: those with few changes of emotion first, for train "
               "--curriculum");
  table
      .add("emotion-wheel", options.emotion_wheel,
           "where labels stand on the wheel of valence and arousal, if they are not the usual ones")
      .shown_as("FILE");
  table.add("label-map", options.label_map, "what the labels of the corpora become").shown_as("FILE");
  table
      .add("side", options.side,
           "JSON lines of texts about utterances, speakers or dialogues, which stand where the recipe has "
           "{NAME}; may be given several times")
      .shown_as("NAME=FILE");
  table.add("captions", options.captions, "what is seen in each line; the same as --side caption=FILE")
      .shown_as("FILE");
}

void add_selection(OptionTable& table, PrepareOptions& options) {
  table.group("Fractions of the train split");
  table.add("fraction", options.fraction, "share of the lines that are asked about; histories stay whole");
  table.choice("mix", options.mix, {{"ratio", Mix::ratio}, {"total", Mix::total}, {"equal", Mix::equal}},
               "of mixed corpora: take the share of each, of all together, or equally many lines of each");
  table.add("fraction-seed", options.fraction_seed,
            "which lines; smaller fractions are parts of larger ones");

  DemonstrationOptions& demonstrations = options.demonstrations;
  table.group("Demonstrations");
  table
      .add("demonstrations", demonstrations.count,
           "examples in a prompt, from the train split; the recipe must have a place for them")
      .at_least(0);
  table.choice(
      "retrieval", demonstrations.retrieval,
      {{"bm25", Retrieval::bm25}, {"embedding", Retrieval::embedding}, {"fixed", Retrieval::fixed}},
      "the most similar by common words, by the base's mean hidden states, or so many of each label, the "
      "same for all");
  table.choice(
      "demonstration-labels", demonstrations.labels,
      {{"any", DemonstrationLabels::any}, {"same-in-training", DemonstrationLabels::same_in_training}},
      "same-in-training: as InstructERC has it, which teaches to copy and can collapse");
  table.add("balanced-pool", demonstrations.balanced, "as many examples of each label to choose from");
  table.add("demonstration-seed", demonstrations.seed, "of fixed examples and of a balanced pool");
}

void add_vectors(OptionTable& table, Options& options) {
  table.group(vectors_title);
  table
      .add("vectors", options.vectors.folder,
           "keeps them in this folder, by the content of the base, and takes those that it has from there")
      .shown_as("DIR");
  add_computation(table, options.vectors.model, options.vectors.runtime);
}

void add_features(OptionTable& table, PrepareOptions& options) {
  table.group("Features");
  table
      .add(
          "features", options.features,
          "HDF5 file with a vector or a sequence of vectors for each line of dialogues, or for each key that "
          "token lists and conversations name, as in images")
      .shown_as("FILE");
  table.add("feature-key", options.feature_key,
            "where a line's stand in it, as {split}/{dialogue}/{utterance}; empty: as its layout has it");
  table.add("feature-token-id", options.feature_token_id,
            "what stands in token lists where features go; -200 is LLaVA's");
  table.add("feature-rows", options.feature_rows, "a longer sequence is averaged to so many rows")
      .at_least(1);
  table.choice(
      "missing-features", options.missing_features,
      {{"zeros", MissingFeatures::zeros}, {"refuse", MissingFeatures::refuse}},
      "what becomes of a line or key that the file does not hold: a row of zeros, counted, or an error");
  table.add("half-precision-features", options.half_precision_features, "store them as f16 instead of f32");
}

// What train would refuse is not prepared: it compares the tokenizer of the data with that of the base.
void check_tokenizer(const std::string& given, const std::string& base,
                     const std::optional<std::filesystem::path>& of_base) {
  const std::filesystem::path file = tokenizer_file(given).value_or(given);
  const std::string name = file.extension() == ".json" ? "tokenizer.json" : "tokenizer.model";
  require<ConfigurationError>(of_base.has_value(), "--base has no ", name,
                              ", and train looks for it there: copy --tokenizer to ",
                              (std::filesystem::path(base) / name).string(), " and leave the option out");
  require<ConfigurationError>(read_file(file) == read_file(*of_base), "--tokenizer ", given,
                              " is another one than ", of_base->string(),
                              ", and train refuses data of another tokenizer than the base's: leave "
                              "the option out");
}

void take_from_base(Options& options, const OptionTable& table) {
  PrepareOptions& prepare = options.prepare;
  std::int64_t longest_text = std::numeric_limits<std::int64_t>::max();
  if (!options.base.empty()) {
    const ModelConfig config = read_model_config(options.base);
    const std::int64_t vocabulary_size = config.vocabulary_size;
    require<ConfigurationError>(prepare.vocabulary_size == 0 || prepare.vocabulary_size == vocabulary_size,
                                "--vocabulary-size is ", prepare.vocabulary_size, " but that of ",
                                options.base, " is ", vocabulary_size, ": leave the option out");
    prepare.vocabulary_size = vocabulary_size;
    longest_text = prepare.longest_text = config.longest_text();
    prepare.bound_of_texts = config.bound_of_texts();
    const auto tokenizer = tokenizer_file(options.base);
    if (!prepare.tokenizer.empty()) check_tokenizer(prepare.tokenizer, options.base, tokenizer);
    // The base's own also where they are alike: what stands beside tokenizer.json says how texts end.
    if (tokenizer) prepare.tokenizer = *tokenizer;
  }
  require<ConfigurationError>(
      prepare.corpus == "tokens" || !prepare.tokenizer.empty(), "the ", prepare.corpus,
      " corpus needs a tokenizer: give --base with a tokenizer inside, or --tokenizer");
  require<ConfigurationError>(
      prepare.vocabulary_size > 0 || !prepare.tokenizer.empty(),
      "the tokens corpus needs to know the vocabulary: give --base or --vocabulary-size");
  if (!table.changed("max-tokens")) prepare.max_tokens = std::min(prepare.max_tokens, longest_text);
  if (!table.changed("context")) prepare.context = std::min(prepare.context, longest_text);
}

void say_unused_rows(const Options& options, Console& console) {
  if (options.base.empty() || options.prepare.tokenizer.empty()) return;
  const std::int64_t pieces = Tokenizer::load(options.prepare.tokenizer).size();
  const std::string remark = unused_rows(options.base, options.prepare.vocabulary_size, pieces);
  if (!remark.empty()) console.print(remark);
}

// Which options say something for which corpora.
enum Corpora : unsigned { dialogues = 1, messages = 2, tokens = 4, text = 8 };
struct Meant {
  unsigned corpora;
  std::vector<std::string> options;
};
const std::vector<Meant>& meant_options() {
  static const std::vector<Meant> all{
      {text, {"context"}},
      {tokens, {"lines-per-tree", "feature-token-id"}},
      {messages, {"loss-on", "system"}},
      {dialogues | messages, {"chat-template", "max-tokens"}},
      {dialogues | messages | tokens, {"features"}},
      {dialogues,
       {"recipe", "history", "answer-end", "auxiliary", "label-map", "label-weights", "order", "side",
        "captions", "fraction", "demonstrations", "feature-key"}}};
  return all;
}

std::string names_of(unsigned corpora) {
  std::vector<std::string> names;
  for (const auto& [corpus, name] : {std::pair{dialogues, "dialogues"}, std::pair{messages, "messages"},
                                     std::pair{tokens, "tokens"}, std::pair{text, "text"}}) {
    if ((corpora & corpus) != 0) names.emplace_back(name);
  }
  return fmt::format("{}", fmt::join(names, " and "));
}

// Options that have no meaning for the corpus are a mistake.
void check_corpus(const std::string& corpus, const OptionTable& table) {
  const Corpora kind = corpus == "messages" ? messages
                       : corpus == "tokens" ? tokens
                       : corpus == "text"   ? text
                                            : dialogues;
  for (const auto& [corpora, options] : meant_options()) {
    for (const std::string& option : options) {
      require<ConfigurationError>((corpora & kind) != 0 || !table.changed(option), "--", option, " is for ",
                                  names_of(corpora), ", this corpus is ", corpus, ": leave it out");
    }
  }
}

// So are those that only speak of others which are not there.
void check_companions(const Options& all, const OptionTable& table) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> companions{
      {"auxiliary", {"auxiliary-weight"}},
      {"order", {"emotion-wheel"}},
      {"fraction", {"fraction-seed", "mix"}},
      {"demonstrations", {"retrieval", "demonstration-labels", "balanced-pool", "demonstration-seed"}},
      {"features",
       {"feature-key", "feature-token-id", "feature-rows", "missing-features", "half-precision-features"}}};
  for (const auto& [needed, options] : companions) {
    for (const std::string& option : options) {
      require<ConfigurationError>(!table.changed(option) || table.changed(needed), "--", option,
                                  " says nothing without --", needed);
    }
  }
  for (const std::string& option : table.names_in(vectors_title)) {
    require<ConfigurationError>(all.maps_lines() || !table.changed(option), "--", option,
                                " is for --demonstrations with --retrieval embedding: leave it out");
  }
  require<ConfigurationError>(!all.maps_lines() || !all.base.empty(),
                              "--retrieval embedding needs --base, which makes the vectors");
}

// Between two dialogues, before anything is written.
void stop_if_requested() {
  if (stop_requested()) throw Interrupted("stopped by a signal; nothing was written: start it again");
}

void print(const Ledger& ledger, const std::string& output, Console& console) {
  std::string lines = ledger.to_table();
  while (lines.ends_with('\n')) lines.pop_back();
  console.print(lines);
  if (!ledger.example.empty()) console.print(ledger.example);
  console.print(fmt::format("the data sets are in {}", output));
}

ExitCode run(Options& options, const OptionTable& table, const MakeRuntime& make_runtime) {
  options.prepare.config = table.print_effective();
  options.prepare.shard_bytes = options.shard_mib << 20;
  check_corpus(options.prepare.corpus, table);
  check_companions(options, table);
  take_from_base(options, table);
  std::optional<LineVectors> vectors;
  if (options.maps_lines()) {
    vectors.emplace(options.base, options.prepare.tokenizer, options.vectors, table, make_runtime);
  } else {
    require_one_rank("chorus prepare without --retrieval embedding");
  }
  if (vectors && !vectors->runtime().is_first()) {
    vectors->help();
    return ExitCode::done;
  }
  require_writable_place(options.prepare.output, "--output");
  Console console;
  say_unused_rows(options, console);
  const auto progress = [&](std::string_view what, std::int64_t done, std::int64_t total) {
    console.progress(what, done, total);
    if (vectors) vectors->runtime().activity().now("preparing", done);
    stop_if_requested();
  };
  const auto embed = [&](std::span<const std::string> texts) {
    console.finish();
    return vectors->of(texts);
  };
  Ledger ledger;
  try {
    ledger = chorus::prepare(options.prepare, progress, embed);
  } catch (const Interrupted&) {
    if (vectors) vectors->finish();
    throw;
  }
  console.finish();
  if (vectors) vectors->finish();
  print(ledger, options.prepare.output, console);
  return ExitCode::done;
}

}  // namespace

ExitCode prepare(const Arguments& arguments) {
  return run_on_ranks("chorus prepare", [&](const MakeRuntime& make_runtime) {
    Options options;
    OptionTable table("prepare",
                      "turns a corpus into prompts, tokens and data sets, and accounts for every row");
    add_input(table, options);
    add_messages(table, options.prepare);
    add_prompts(table, options.prepare);
    add_selection(table, options.prepare);
    add_vectors(table, options);
    add_features(table, options.prepare);
    if (!table.parse(arguments)) return ExitCode::done;
    return run(options, table, make_runtime);
  });
}

}  // namespace chorus::command
