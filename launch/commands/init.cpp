#include <string>

#include "core/formats/model_tensors.h"
#include "core/formats/new_base.h"
#include "data/prompts/tokenizer.h"
#include "launch/commands/commands.h"
#include "launch/process/console.h"

namespace chorus::command {

ExitCode init(const Arguments& arguments) {
  std::string output, tokenizer_file;
  std::uint64_t seed = 42;
  ModelConfig config;
  config.hidden_size = 128;
  config.layers = 4;
  config.query_heads = 4;
  config.key_value_heads = 2;
  config.norm_epsilon = 1e-5;
  config.max_positions = 512;
  config.tied_head = true;
  std::optional<std::int64_t> mlp_width, head_width;
  FileDType precision = FileDType::f32;

  OptionTable table("init",
                    "writes an untrained model as a Hugging Face folder, to be trained with --method full");
  table.add("output", output, "new folder").required().shown_as("DIR");
  table.add("tokenizer", tokenizer_file, "tokenizer.model or tokenizer.json; its size is the vocabulary")
      .required()
      .shown_as("FILE");
  table.choice("family", config.family,
               {{"llama", Family::llama},
                {"mistral", Family::mistral},
                {"qwen2", Family::qwen2},
                {"qwen3", Family::qwen3}},
               "architecture, by its model_type");
  table.add("hidden-size", config.hidden_size, "width of the residual stream").at_least(2);
  table.add("intermediate-size", mlp_width, "width of the MLP; none: 8/3 of the hidden size, in steps of 32")
      .at_least(1);
  table.add("layers", config.layers, "number of blocks").at_least(1);
  table.add("query-heads", config.query_heads, "attention heads").at_least(1);
  table.add("key-value-heads", config.key_value_heads, "heads of keys and values").at_least(1);
  table.add("head-width", head_width, "width of a head; none: hidden size / query heads").at_least(2);
  table.add("max-positions", config.max_positions, "longest sequence").at_least(1);
  table.add("rope-theta", config.rope_theta, "base of the rotary frequencies").more_than(1);
  table.add("tied-head", config.tied_head, "the output projection is the embedding");
  table.choice("precision", precision, {{"f32", FileDType::f32}, {"bf16", FileDType::bf16}}, "of the files");
  table.add("seed", seed, "of the initial weights");
  if (!table.parse(arguments)) return ExitCode::done;

  require<ConfigurationError>(config.query_heads % config.key_value_heads == 0, "--key-value-heads ",
                              config.key_value_heads, " does not divide --query-heads ", config.query_heads);
  require<ConfigurationError>(head_width || config.hidden_size % config.query_heads == 0, "--query-heads ",
                              config.query_heads, " does not divide --hidden-size ", config.hidden_size,
                              ": change one of them or give --head-width");
  config.head_width = head_width.value_or(config.hidden_size / config.query_heads);
  require<ConfigurationError>(config.head_width % 2 == 0, "a head of width ", config.head_width,
                              " cannot be rotated in pairs: it must be even");
  config.intermediate_size = mlp_width.value_or((config.hidden_size * 8 / 3 + 31) / 32 * 32);
  const Tokenizer tokenizer = Tokenizer::load(tokenizer_file);
  config.vocabulary_size = tokenizer.size();
  config.bos = tokenizer.bos().value_or(-1);
  config.eos = {tokenizer.eos()};

  require_computable(output, config);

  write_new_base(output, config, tokenizer_file, seed, precision);
  const std::string_view family = config.family == Family::llama ? "LLaMA" : model_type(config.family);
  Console().print(
      fmt::format("{}: an untrained {} of {} parameters", output, family, parameter_count(config)));
  return ExitCode::done;
}

}  // namespace chorus::command
