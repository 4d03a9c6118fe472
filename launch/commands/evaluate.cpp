#include <algorithm>
#include <filesystem>
#include <optional>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/scoring/evaluator.h"
#include "core/scoring/generator.h"
#include "data/prompts/chat_writer.h"
#include "data/prompts/prompt_form.h"
#include "data/prompts/tokenizer.h"
#include "data/text/files.h"
#include "data/text/folder_lock.h"
#include "data/text/text.h"
#include "launch/commands/commands.h"
#include "launch/commands/evaluation_report.h"
#include "launch/commands/model_setup.h"
#include "launch/commands/training_options.h"
#include "launch/process/environment.h"

namespace chorus::command {

namespace {

enum class Decode { score, greedy };

struct Options {
  std::string base, adapter, data, split = "test", output, predictions, exclude;
  Decode decode = Decode::score;
  MatchRule match = MatchRule::words;
  bool compare_base = true;
  BatchOptions batches;
  std::int64_t max_new_tokens = 16;
  ModelOptions model;
  RuntimeOptions runtime;
};

// What answers: the base, alone or with an adapter, and with a projector where the data has features.
struct Contestant {
  std::string name;
  const PeftAdapter* adapter = nullptr;
  std::optional<SavedProjector> projector = {};
};

// The base alone cannot answer with features that only the adapter's projector knows to map.
bool base_can_answer(const Options& options, const DataSplit& split) {
  return split.features().width == 0 || find_projector(options.base).has_value();
}

ModelOptions model_options(const Options& options, const Contestant& contestant) {
  ModelOptions model = options.model;
  if (contestant.adapter != nullptr) model.lora = contestant.adapter->config;
  if (contestant.projector) model.projector = contestant.projector->config;
  return model;
}

// A base that is loaded once, and answers for each contestant.
class Answers {
 public:
  Answers(const Options& options, const BaseModel& base, const DataSplit& split, Runtime& runtime)
      : options_(options),
        base_(base),
        split_(split),
        runtime_(runtime),
        setup_(take_base(base, options.model, runtime)) {
    setup_.llama.load(base);
  }

  Evaluation of(const Contestant& contestant, const Progress& progress) {
    return options_.decode == Decode::score ? score(contestant, progress) : decode(contestant, progress);
  }

 private:
  // Every label of every utterance in one forward pass.
  Evaluation score(const Contestant& contestant, const Progress& progress) {
    ModelSetup setup(setup_, model_options(options_, contestant),
                     {.tokens = options_.batches.tokens_per_microbatch});
    load(setup.model, contestant);
    return chorus::evaluate(setup.model, split_, options_.batches, setup.activations, progress,
                            [&] { return runtime_.stop_requested(); });
  }

  // A generated answer per utterance.
  Evaluation decode(const Contestant& contestant, const Progress& progress) {
    const Tokenizer tokenizer = Tokenizer::load(base_.tokenizer_path());
    GenerateOptions answers_as = generate_options(base_, tokenizer, options_.max_new_tokens);
    answers_as.features = &split_.features();
    if (const PromptForm form = PromptForm::of(split_.origin(), options_.data); form.recipe.chat)
      answers_as.ends.push_back(ChatWriter(*form.recipe.chat, tokenizer).end());
    ModelSetup setup(setup_, model_options(options_, contestant), limits_of(answers_as));
    load(setup.model, contestant);
    std::vector<std::string> texts(static_cast<std::size_t>(split_.utterances()));
    std::int64_t answered = 0;
    for_each_window_of_prompts(split_, [&](const UtterancePrompts& asked) {
      const auto utterance = [&](std::int64_t prompt) {
        return asked.utterances[static_cast<std::size_t>(prompt)];
      };
      const std::int64_t count = std::ssize(asked.prompts);
      answers_as.name_of_prompt = [&](std::int64_t prompt) {
        return describe(key_of(split_.origin(), split_.utterance(utterance(prompt))));
      };
      const auto answers = chorus::generate(
          setup.model, asked.prompts, answers_as, setup.activations,
          [&](std::int64_t done, std::int64_t all) {
            progress(answered + count * done / all, split_.utterances());
          },
          [&] { return runtime_.stop_requested(); });
      for (std::int64_t i = 0; i < count; ++i)
        texts[static_cast<std::size_t>(utterance(i))] =
            trimmed(tokenizer.decode(answers[static_cast<std::size_t>(i)]));
      answered += count;
    });
    return match_answers(std::move(texts), split_, options_.match);
  }

  // Enough for every window.
  PassLimits limits_of(const GenerateOptions& answers_as) const {
    GenerationLimits most;
    for_each_window_of_prompts(split_, [&](const UtterancePrompts& asked) {
      const GenerationLimits limits = generation_limits(asked.prompts, answers_as, base_.config());
      most = {.prompt_tokens = std::max(most.prompt_tokens, limits.prompt_tokens),
              .sequences = std::max(most.sequences, limits.sequences),
              .length = std::max(most.length, limits.length)};
    });
    return pass_limits(most);
  }

  static void load(Model& model, const Contestant& contestant) {
    if (contestant.adapter != nullptr) model.adapters().load(*contestant.adapter);
    if (contestant.projector) model.load_projector(*contestant.projector);
  }

  const Options& options_;
  const BaseModel& base_;
  const DataSplit& split_;
  Runtime& runtime_;
  BaseSetup setup_;
};

void write_results(const Options& options, const DataSplit& split, const EvaluationReport& report,
                   const Evaluation& best) {
  if (!options.predictions.empty()) write_predictions(options.predictions, best, split);
  if (options.output.empty()) return;
  const std::filesystem::path output = options.output;
  nlohmann::ordered_json json{{"data", options.data},
                              {"split", options.split},
                              {"base", options.base},
                              {"adapter", options.adapter},
                              {"utterances", split.utterances()}};
  json.update(report.to_json());
  write_predictions(output / "predictions.jsonl", best, split);
  write_file_atomically(output / "environment.json", describe_environment().dump(2) + "\n");
  write_file_atomically(output / "eval_results.json", json.dump(2) + "\n");
}

// Everything that can be wrong with what is written is found before anything is computed.
void begin_output(const Options& options, bool is_first, std::optional<FolderLock>& lock) {
  if (!options.predictions.empty() && is_first) begin_new_file(options.predictions, "--predictions");
  if (!options.exclude.empty()) read_utterance_keys(options.exclude);
  if (!options.output.empty() && is_first) lock.emplace(options.output, FolderLock::Former::refused);
}

void require_scorable(const Options& options, const DataSplit& split) {
  require<ConfigurationError>(
      split.has_candidates(), options.data, "/", options.split,
      ".h5 has no candidate answers to compare: score a split that `chorus prepare` made of a "
      "labelled corpus, dev or test; conversations, token lists and texts have no labels, `chorus train` "
      "says their loss on dev");
  require<ConfigurationError>(options.exclude.empty() || split.has_gold(), "--exclude: the ", options.split,
                              " split has no gold labels, so nothing is scored: leave the option out");
}

// What all ranks must have alike.
SharedFacts facts_of(const Options& options, const OptionTable& table, const BaseModel& base,
                     const std::optional<PeftAdapter>& adapter, const DataSplit& split) {
  SharedFacts facts = facts_of(table, {"base", "adapter", "data", "output", "predictions", "exclude"});
  add_content(facts, base, adapter);
  add_content(facts, "data", split.content_hash());
  for (const std::string& folder : {options.base, options.adapter}) {
    if (const auto projector = folder.empty() ? std::nullopt : find_projector(folder))
      add_content(facts, "projector of " + std::string(folder == options.base ? "the base" : "the adapter"),
                  content_hash(projector->file.tensors()));
  }
  return facts;
}

void say_what_is_scored(const Options& options, const BaseModel& base,
                        const std::optional<PeftAdapter>& adapter, const DataSplit& split, Runtime& runtime) {
  Console& console = runtime.console();
  console.print(fmt::format("{} split of {}: {} utterances, each scored once | {}", options.split,
                            fmt::join(split.origin().corpora, " and "), split.utterances(),
                            runtime.description(options.model.precision)));
  for (const std::string& remark :
       remarks(base, adapter, options.model.base_precision, options.decode == Decode::greedy))
    console.print(remark);
  if (adapter) {
    for (const std::string& remark :
         {other_labels(*adapter, split.origin()), other_prompts(*adapter, split.origin())})
      if (!remark.empty()) console.print(remark);
  }
}

std::vector<Contestant> find_contestants(const Options& options, const BaseModel& base,
                                         const std::optional<PeftAdapter>& adapter, const DataSplit& split,
                                         Console& console) {
  std::vector<Contestant> contestants;
  if (adapter && options.compare_base && !base_can_answer(options, split))
    console.print("the base alone is left out: it has no projector for the features of the data");
  if (!adapter || (options.compare_base && base_can_answer(options, split)))
    contestants.push_back({"base", nullptr, projector_for(options.base, split, base)});
  if (adapter)
    contestants.push_back({"base + adapter", &*adapter, projector_for(options.adapter, split, base)});
  return contestants;
}

ExitCode run_evaluation(const Options& options, const OptionTable& table, const MakeRuntime& make_runtime) {
  const BaseModel base(options.base);
  std::optional<PeftAdapter> adapter;
  if (!options.adapter.empty()) adapter.emplace(read_peft(options.adapter));
  const DataSplit split = open_split(options.data, options.split, base);
  require_scorable(options, split);
  const std::unique_ptr<Runtime> runtime =
      make_runtime(options.runtime, facts_of(options, table, base, adapter, split));
  Console& console = runtime->console();
  std::optional<FolderLock> lock;
  begin_output(options, runtime->is_first(), lock);
  say_what_is_scored(options, base, adapter, split, *runtime);

  const std::vector<Contestant> contestants = find_contestants(options, base, adapter, split, console);
  Answers answers(options, base, split, *runtime);
  std::vector<AnsweredSplit> results;
  for (const Contestant& contestant : contestants) {
    const auto progress = [&](std::int64_t done, std::int64_t total) {
      console.progress(contestant.name, done, total);
      runtime->activity().now("scoring", done);
    };
    results.push_back({contestant.name, answers.of(contestant, progress)});
    console.finish();
  }
  const EvaluationReport report(split, results, options.exclude);
  console.print(fmt::format("\n{}", report.to_text()));
  if (runtime->is_first()) write_results(options, split, report, results.back().evaluation);
  return ExitCode::done;
}

}  // namespace

ExitCode evaluate(const Arguments& arguments) {
  return run_on_ranks("chorus evaluate", [&](const MakeRuntime& make_runtime) {
    Options options;
    OptionTable table("evaluate", "scores a base, with or without adapter, on a data set");
    table.add("base", options.base, "Hugging Face folder of the base model").required().shown_as("DIR");
    table.add("adapter", options.adapter, "PEFT adapter").shown_as("DIR");
    table.add("data", options.data, "folder that `chorus prepare` wrote").required().shown_as("DIR");
    table.add("split", options.split, "which file of it: train, dev, test");
    table.add("output", options.output, "new folder for eval_results.json and predictions.jsonl")
        .shown_as("DIR");
    table.add("predictions", options.predictions, "also write the answers to this new file").shown_as("FILE");
    table.add("exclude", options.exclude, "JSON lines of utterances; also scores what remains without them")
        .shown_as("FILE");
    table.choice("decode", options.decode, {{"score", Decode::score}, {"greedy", Decode::greedy}},
                 "compare the probabilities of all labels, or generate an answer and look for a label in it");
    table.choice(
        "match", options.match, {{"words", MatchRule::words}, {"instructerc", MatchRule::instructerc}},
        "how a label is found in a generated answer: by words, whatever their case; or as InstructERC "
        "does it");
    table.add("compare-base", options.compare_base, "also score the base without the adapter");
    table.add("max-new-tokens", options.max_new_tokens, "of a generated answer").at_least(1);
    add_prefix_sharing(table, options.batches);
    add_tokens_per_microbatch(table, options.batches);
    add_computation(table, options.model, options.runtime);
    if (!table.parse(arguments)) return ExitCode::done;
    require<ConfigurationError>(options.decode == Decode::greedy || !table.changed("match"),
                                "--match says nothing without --decode greedy");
    return run_evaluation(options, table, make_runtime);
  });
}

}  // namespace chorus::command
