#include "data/prompts/tokenizer.h"

#include <functional>
#include <iostream>

#include <fmt/format.h>

#include "data/text/files.h"
#include "data/text/json.h"
#include "launch/commands/commands.h"
#include "launch/process/console.h"

namespace chorus::command {
namespace {

struct Options {
  TokenizerTraining training;
  std::vector<std::string> files;
  std::string output, encode, decode;
  bool special = false;
};

void check(const Options& options, const OptionTable& table) {
  const bool learns = options.encode.empty() && options.decode.empty();
  require<ConfigurationError>(options.encode.empty() || options.decode.empty(),
                              "--encode and --decode: give one of them");
  require<ConfigurationError>(!options.special || !options.encode.empty(),
                              "--special is for --encode: give both, or leave it out");
  if (learns) {
    require<ConfigurationError>(!options.files.empty() && !options.output.empty(), "missing: ",
                                options.files.empty() ? "argument FILE (UTF-8 text to learn from)"
                                                      : "option --output FILE (the model that is learned)",
                                "; or --encode DIR or --decode DIR, to use one");
    return;
  }
  for (const char* option : {"output", "vocabulary-size", "input"}) {
    require<ConfigurationError>(!table.given(option), "--", option, " is for learning a tokenizer, and --",
                                options.decode.empty() ? "encode" : "decode",
                                " uses one on what stands on the standard input: leave it out");
  }
}

void learn(Options& options) {
  begin_new_file(options.output, "--output");
  options.training.files.assign(options.files.begin(), options.files.end());
  options.training.output = options.output;
  train_tokenizer(options.training);
  Console().print(fmt::format("{}: {} tokens", options.output, Tokenizer::load(options.output).size()));
}

// Answers each line of the standard input, a JSON value, with one. Lines are written before the next one is waited for.
void answer_lines(
    const std::function<nlohmann::json(const nlohmann::json&, const std::string& where)>& answer) {
  std::string line;
  for (std::int64_t number = 1; std::getline(std::cin, line); ++number) {
    const std::string where = fmt::format("line {} of the standard input", number);
    std::cout << answer(parse_foreign_json(line, where), where).dump() << '\n';
    require<DataError>(std::cout.good(), "the standard output cannot be written to");
  }
  std::cout.flush();
  require<DataError>(std::cout.good(), "the standard output cannot be written to");
}

void encode(const Options& options) {
  const Tokenizer tokenizer = Tokenizer::load(options.encode);
  answer_lines([&](const nlohmann::json& text, const std::string& where) -> nlohmann::json {
    require<DataError>(text.is_string(), where, ": must be a JSON string, is ", text.dump());
    const auto& words = text.get_ref<const std::string&>();
    return options.special ? tokenizer.encode_with_special(words) : tokenizer.encode(words);
  });
}

void decode(const Options& options) {
  const Tokenizer tokenizer = Tokenizer::load(options.decode);
  answer_lines([&](const nlohmann::json& list, const std::string& where) -> nlohmann::json {
    require<DataError>(list.is_array(), where, ": must be a JSON list of ids, is ", list.dump());
    std::vector<std::int32_t> ids;
    for (const nlohmann::json& id : list) {
      const bool fits = id.is_number_unsigned() && id.get<std::uint64_t>() < 1U << 31;
      require<DataError>(fits, where, ": ", id.dump(), " is no id of a token");
      ids.push_back(id.get<std::int32_t>());
    }
    return tokenizer.decode(ids);
  });
}

}  // namespace

ExitCode tokenizer(const Arguments& arguments) {
  Options options;
  OptionTable table(
      "tokenizer",
      "learns a SentencePiece tokenizer of LLaMA's kind from text files, or uses one of any kind");
  table.positional("input", options.files, "UTF-8 text, learned from line by line").shown_as("FILE");
  table.add("output", options.output, "the model, as tokenizer.model; must not exist").shown_as("FILE");
  table
      .add("vocabulary-size", options.training.vocabulary_size,
           "number of tokens, with 256 bytes and 3 signs")
      .at_least(260);

  table.group("Instead of learning");
  table
      .add("encode", options.encode,
           "a JSON string on each line of the standard input becomes a JSON list of ids on the standard "
           "output, "
           "by the tokenizer.model or tokenizer.json of this folder, or by this file")
      .shown_as("DIR");
  table.add("decode", options.decode, "lists of ids become strings again").shown_as("DIR");
  table.add("special", options.special,
            "with --encode: what the model expects around a text as well, <s> for example");
  if (!table.parse(arguments)) return ExitCode::done;
  check(options, table);
  if (!options.encode.empty()) {
    encode(options);
  } else if (!options.decode.empty()) {
    decode(options);
  } else {
    learn(options);
  }
  return ExitCode::done;
}

}  // namespace chorus::command
