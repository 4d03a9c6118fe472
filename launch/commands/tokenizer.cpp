#include "data/prompts/tokenizer.h"

#include <fmt/format.h>

#include "data/text/files.h"
#include "launch/commands/commands.h"
#include "launch/process/console.h"

namespace chorus::command {

int tokenizer(const Arguments& arguments) {
  TokenizerTraining training;
  std::vector<std::string> files;
  std::string output;
  OptionTable table("tokenizer", "learns a SentencePiece tokenizer of LLaMA's kind from text files");
  table.positional("input", files, "UTF-8 text, learned from line by line").required().shown_as("FILE");
  table.add("output", output, "the model, as tokenizer.model; must not exist").required().shown_as("FILE");
  table.add("vocabulary-size", training.vocabulary_size, "number of tokens, with 256 bytes and 3 signs")
      .at_least(260);
  if (!table.parse(arguments)) return static_cast<int>(ExitCode::done);

  begin_new_file(output, "--output");
  training.files.assign(files.begin(), files.end());
  training.output = output;
  train_tokenizer(training);
  Console().print(fmt::format("{}: {} tokens", output, Tokenizer::load(output).size()));
  return static_cast<int>(ExitCode::done);
}

}  // namespace chorus::command
