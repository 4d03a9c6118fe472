#include "launch/commands/asked_model.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "data/sets/data_split.h"
#include "data/text/text.h"
#include "launch/commands/training_options.h"

namespace chorus {

namespace {

std::vector<std::pair<std::string, double>> probabilities(
    std::vector<std::pair<std::string, double>> log_probabilities) {
  double largest = log_probabilities.at(0).second, sum = 0;
  for (const auto& [label, value] : log_probabilities) largest = std::max(largest, value);
  for (auto& [label, value] : log_probabilities) sum += value = std::exp(value - largest);
  for (auto& [label, value] : log_probabilities) value /= sum;
  std::ranges::stable_sort(log_probabilities, std::ranges::greater(),
                           &std::pair<std::string, double>::second);
  return log_probabilities;
}

}  // namespace

void add_asking(OptionTable& table, AskOptions& options) {
  table.add("base", options.model.base, "Hugging Face folder of the base model").required().shown_as("DIR");
  table.add("adapter", options.model.adapter, "PEFT adapter").shown_as("DIR");
  table
      .add("data", options.data,
           "prepared data whose prompts are used; empty: those that the adapter was trained with")
      .shown_as("DIR");
  table
      .add("max-tokens", options.max_tokens,
           "a longer prompt loses the lines farthest from the one asked about; 0: 1024, or the base's "
           "positions if they are fewer")
      .at_least(0);
  add_tokens_per_microbatch(table, options.batches);
  add_computation(table, options.model.options, options.model.runtime);
}

// Any split tells it: all of a folder are made alike.
PromptForm form_of(const AskOptions& options) {
  if (options.data.empty()) {
    if (!options.model.adapter.empty()) return PromptForm::read(options.model.adapter);
    // A folder of --method full says it.
    require<ConfigurationError>(
        std::filesystem::exists(std::filesystem::path(options.model.base) / prompt_form_file),
        "a base alone does not say how it is to be asked: name the folder of "
        "prepared data with --data");
    return PromptForm::read(options.model.base);
  }
  const std::vector<SplitFiles> splits = splits_in(options.data);
  require<ConfigurationError>(!splits.empty(), "--data ", options.data, " holds no data set");
  const std::string file = splits[0].files[0].string();
  return PromptForm::of(Dataset::read(file).origin, file);
}

std::int64_t longest_prompt(const AskOptions& options, const ModelConfig& model) {
  return options.max_tokens > 0 ? options.max_tokens
                                : std::min(QuestionLimits().max_tokens, model.longest_text());
}

AskedModel::AskedModel(const AskOptions& options, PromptForm form, SharedFacts facts,
                       const MakeRuntime& make_runtime)
    : options_(options), form_(std::move(form)), opened_(options.model) {
  form_.require_askable();
  facts.emplace_back("labels", joined(form_.labels, ", "));
  opened_.agree(std::move(facts), make_runtime);
  opened_.load({.tokens = options.batches.tokens_per_microbatch}, false);
}

std::vector<AskedLine> AskedModel::ask(std::span<const Dialogue> dialogues, bool last_line_only,
                                       const Progress& progress) {
  const QuestionLimits limits{.max_tokens = longest_prompt(options_, opened_.base().config()),
                              .vocabulary_size = opened_.base().config().vocabulary_size,
                              .last_line_only = last_line_only};
  const Dataset dataset = questions_about(dialogues, form_, opened_.tokenizer(), limits);
  require_fits(dataset, "the prompts", opened_.base());
  const Evaluation evaluation = evaluate(opened_.model(), dataset, options_.batches, opened_.activations(),
                                         progress, [&] { return runtime().stop_requested(); });
  std::vector<AskedLine> lines;
  for_each_answered(evaluation, dataset, [&](AnsweredUtterance&& answered) {
    lines.push_back({answered.key.dialogue, answered.key.utterance, answered.speaker, answered.text,
                     answered.predicted, probabilities(std::move(answered.scores))});
  });
  return lines;
}

}  // namespace chorus
