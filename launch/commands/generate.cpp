#include <optional>

#include "core/scoring/generator.h"
#include "data/prompts/tokenizer.h"
#include "launch/commands/commands.h"
#include "launch/commands/model_setup.h"

namespace chorus::command {

namespace {

struct Options {
  std::string base, adapter, prompt;
  std::int64_t max_new_tokens = 64;
  DType precision = DType::f32;
  Quantisation base_precision = Quantisation::none;
  RuntimeOptions runtime;
};

int run(Options& options, const OptionTable& table, const MakeRuntime& make_runtime) {
  const BaseModel base(options.base);
  std::optional<PeftAdapter> adapter;
  if (!options.adapter.empty()) adapter.emplace(read_peft(options.adapter));
  const Tokenizer tokenizer = Tokenizer::load(base.tokenizer_path());
  base.check_tokenizer_size(tokenizer.size());
  SharedFacts facts = facts_of(table, {"base", "adapter"});
  add_content(facts, base, adapter);
  add_content(facts, "tokenizer", tokenizer.hash());
  const std::unique_ptr<Runtime> runtime = make_runtime(options.runtime, facts);

  std::vector<std::int32_t> prompt = tokenizer.beginning();
  const std::vector<std::int32_t> words = tokenizer.encode(options.prompt);
  prompt.insert(prompt.end(), words.begin(), words.end());
  require<ConfigurationError>(!prompt.empty(), "the prompt is empty, and texts of ", options.base,
                              " begin with no token of their own: give some words");
  const std::vector<std::vector<std::int32_t>> prompts{prompt};

  for (const std::string& remark : remarks(base, adapter, options.base_precision, true))
    runtime->console().print(remark);
  const GenerateOptions answers_as = generate_options(base, tokenizer, options.max_new_tokens);
  ModelOptions model_options;
  model_options.precision = options.precision;
  model_options.base_precision = options.base_precision;
  if (adapter) model_options.lora = adapter->config;
  BaseSetup base_setup = take_base(base, model_options, *runtime);
  base_setup.llama.load(base);
  ModelSetup setup(base_setup, model_options,
                   pass_limits(generation_limits(prompts, answers_as, base.config())));
  if (adapter) setup.model.adapters().load(*adapter);
  const auto answers = chorus::generate(setup.model, prompts, answers_as, setup.activations, {},
                                        [&] { return runtime->stop_requested(); });
  // Decoded with the prompt, since a SentencePiece text depends on what stands before it.
  std::vector<std::int32_t> all = words;
  all.insert(all.end(), answers[0].begin(), answers[0].end());
  runtime->console().print(tokenizer.decode(all));
  return 0;
}

}  // namespace

int generate(const Arguments& arguments) {
  return run_on_ranks("chorus generate", [&](const MakeRuntime& make_runtime) {
    Options options;
    OptionTable table("generate", "continues a prompt with the most probable tokens and prints both");
    table.add("base", options.base, "Hugging Face folder of the base model").required().shown_as("DIR");
    table.add("adapter", options.adapter, "PEFT adapter").shown_as("DIR");
    table.positional("prompt", options.prompt, "text to continue").required();
    table.add("max-new-tokens", options.max_new_tokens, "length of the continuation").at_least(1);
    add_computation(table, options.precision, options.base_precision, options.runtime);
    if (!table.parse(arguments)) return 0;
    return run(options, table, make_runtime);
  });
}

}  // namespace chorus::command
