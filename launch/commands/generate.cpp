#include "core/scoring/generator.h"
#include "launch/commands/commands.h"
#include "launch/commands/opened_model.h"

namespace chorus::command {

namespace {

struct Options {
  ModelChoice model;
  std::string prompt;
  std::int64_t max_new_tokens = 64;
};

ExitCode run(Options& options, const OptionTable& table, const MakeRuntime& make_runtime) {
  OpenedModel opened(options.model);
  opened.agree(facts_of(table, {"base", "adapter"}), make_runtime);

  const Tokenizer& tokenizer = opened.tokenizer();
  std::vector<std::int32_t> prompt = tokenizer.beginning();
  const std::vector<std::int32_t> words = tokenizer.encode(options.prompt);
  prompt.insert(prompt.end(), words.begin(), words.end());
  require<ConfigurationError>(!prompt.empty(), "the prompt is empty, and texts of ", options.model.base,
                              " begin with no token of their own: give some words");
  const std::vector<std::vector<std::int32_t>> prompts{prompt};

  const GenerateOptions answers_as = generate_options(opened.base(), tokenizer, options.max_new_tokens);
  opened.load(pass_limits(generation_limits(prompts, answers_as, opened.base().config())), true);
  const auto answers = chorus::generate(opened.model(), prompts, answers_as, opened.activations(), {},
                                        [&] { return opened.runtime().stop_requested(); });
  // Decoded with the prompt, since a SentencePiece text depends on what stands before it.
  std::vector<std::int32_t> all = words;
  all.insert(all.end(), answers[0].begin(), answers[0].end());
  opened.runtime().console().print(tokenizer.decode(all));
  return ExitCode::done;
}

}  // namespace

ExitCode generate(const Arguments& arguments) {
  return run_on_ranks("chorus generate", [&](const MakeRuntime& make_runtime) {
    Options options;
    OptionTable table("generate", "continues a prompt with the most probable tokens and prints both");
    table.add("base", options.model.base, "Hugging Face folder of the base model").required().shown_as("DIR");
    table.add("adapter", options.model.adapter, "PEFT adapter").shown_as("DIR");
    table.positional("prompt", options.prompt, "text to continue").required();
    table.add("max-new-tokens", options.max_new_tokens, "length of the continuation").at_least(1);
    add_computation(table, options.model.options, options.model.runtime);
    if (!table.parse(arguments)) return ExitCode::done;
    return run(options, table, make_runtime);
  });
}

}  // namespace chorus::command
