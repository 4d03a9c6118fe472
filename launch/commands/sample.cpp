#include <fmt/format.h>

#include "data/corpora/sample_corpus.h"
#include "launch/commands/commands.h"
#include "launch/process/console.h"

namespace chorus::command {

ExitCode sample(const Arguments& arguments) {
  std::string output;
  SampleCorpusOptions options;
  OptionTable table("sample",
                    "writes a corpus of invented dialogues in the layout of MELD, and text to pre-train on");
  table.add("output", output, "folder for the files; existing ones are not overwritten")
      .required()
      .shown_as("DIR");
  table.add("train-dialogues", options.train_dialogues, "of the train split").at_least(1);
  table.add("dev-dialogues", options.dev_dialogues, "of the dev split").at_least(1);
  table.add("test-dialogues", options.test_dialogues, "of the test split").at_least(1);
  table.add("paragraphs", options.paragraphs, "of pretraining.txt").at_least(1);
  table.add("seed", options.seed, "another one gives another corpus");
  if (!table.parse(arguments)) return ExitCode::done;

  write_sample_corpus(output, options);
  Console().print(fmt::format(
      "{}: {} dialogues to train on, {} for dev, {} for test, and {} paragraphs of text", output,
      options.train_dialogues, options.dev_dialogues, options.test_dialogues, options.paragraphs));
  return ExitCode::done;
}

}  // namespace chorus::command
