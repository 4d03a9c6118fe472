#include <optional>
#include <string>

#include "core/formats/model_tensors.h"
#include "core/formats/new_base.h"
#include "data/prompts/tokenizer.h"
#include "launch/commands/commands.h"
#include "launch/process/console.h"

namespace chorus::command {

namespace {

struct Options {
  std::string output, tokenizer;
  std::uint64_t seed = 42;
  ModelConfig config;
  std::optional<std::int64_t> mlp_width, head_width;
  FileDType precision = FileDType::f32;
};

Options small_model() {
  Options options;
  options.config.hidden_size = 128;
  options.config.layers = 4;
  options.config.query_heads = 4;
  options.config.key_value_heads = 2;
  options.config.norm_epsilon = 1e-5;
  options.config.max_positions = 512;
  options.config.tied_head = true;
  return options;
}

void add_options(OptionTable& table, Options& options) {
  ModelConfig& config = options.config;
  table.add("output", options.output, "new folder").required().shown_as("DIR");
  table.add("tokenizer", options.tokenizer, "tokenizer.model or tokenizer.json; its size is the vocabulary")
      .required()
      .shown_as("FILE");
  table.choice("family", config.family,
               {{"llama", Family::llama},
                {"mistral", Family::mistral},
                {"qwen2", Family::qwen2},
                {"qwen3", Family::qwen3}},
               "architecture, by its model_type");
  table.add("hidden-size", config.hidden_size, "width of the residual stream").at_least(2);
  table
      .add("intermediate-size", options.mlp_width,
           "width of the MLP; none: 8/3 of the hidden size, in steps of 32")
      .at_least(1);
  table.add("layers", config.layers, "number of blocks").at_least(1);
  table.add("query-heads", config.query_heads, "attention heads").at_least(1);
  table.add("key-value-heads", config.key_value_heads, "heads of keys and values").at_least(1);
  table.add("head-width", options.head_width, "width of a head; none: hidden size / query heads").at_least(2);
  table.add("max-positions", config.max_positions, "longest sequence").at_least(1);
  table.add("rope-theta", config.rope.theta, "base of the rotary frequencies").more_than(1);
  table.add("tied-head", config.tied_head, "the output projection is the embedding");
  table.choice("precision", options.precision, {{"f32", FileDType::f32}, {"bf16", FileDType::bf16}},
               "of the files");
  table.add("seed", options.seed, "of the initial weights");
}

// The configuration with what the options leave out, and the tokenizer's part.
ModelConfig complete_config(const Options& options) {
  ModelConfig config = options.config;
  require<ConfigurationError>(config.query_heads % config.key_value_heads == 0, "--key-value-heads ",
                              config.key_value_heads, " does not divide --query-heads ", config.query_heads);
  require<ConfigurationError>(options.head_width || config.hidden_size % config.query_heads == 0,
                              "--query-heads ", config.query_heads, " does not divide --hidden-size ",
                              config.hidden_size, ": change one of them or give --head-width");
  config.head_width = options.head_width.value_or(config.hidden_size / config.query_heads);
  require<ConfigurationError>(config.head_width % 2 == 0, "a head of width ", config.head_width,
                              " cannot be rotated in pairs: it must be even");
  config.intermediate_size = options.mlp_width.value_or((config.hidden_size * 8 / 3 + 31) / 32 * 32);
  const Tokenizer tokenizer = Tokenizer::load(options.tokenizer);
  config.vocabulary_size = tokenizer.size();
  config.bos = tokenizer.bos().value_or(-1);
  config.eos = {tokenizer.eos()};
  return config;
}

}  // namespace

ExitCode init(const Arguments& arguments) {
  Options options = small_model();
  OptionTable table("init",
                    "writes an untrained model as a Hugging Face folder, to be trained with --method full");
  add_options(table, options);
  if (!table.parse(arguments)) return ExitCode::done;

  const ModelConfig config = complete_config(options);
  require_computable(options.output, config);
  write_new_base(options.output, config, options.tokenizer, options.seed, options.precision);
  const std::string_view family = config.family == Family::llama ? "LLaMA" : model_type(config.family);
  Console().print(
      fmt::format("{}: an untrained {} of {} parameters", options.output, family, parameter_count(config)));
  return ExitCode::done;
}

}  // namespace chorus::command
