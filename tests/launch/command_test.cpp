// The commands as a user meets them: what they print, and the exit codes that scripts rely on.

#include <algorithm>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr int done = static_cast<int>(ExitCode::done);
constexpr int configuration = static_cast<int>(ExitCode::configuration);
constexpr int data = static_cast<int>(ExitCode::data);

const std::vector<std::string> commands{"sample", "tokenizer", "init",     "inspect", "prepare",
                                        "train",  "evaluate",  "generate", "export",  "score",
                                        "study",  "sweep",     "report"};

constexpr std::string_view meld_header =
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n";

// A corpus folder with one good row and then `row`.
std::string write_corpus(const TemporaryFolder& folder, const std::string& row) {
  write_text(folder / "corpus/train_sent_emo.csv",
             std::string(meld_header) +
                 "1,Hello there,Ross,joy,positive,0,0,1,1,\"00:00:01,000\",\"00:00:02,000\"\n" + row);
  return folder / "corpus";
}

// Exactly one message, in the form that names the program and the command.
void expect_refusal(const Outcome& outcome, int code, const std::string& beginning, const std::string& part) {
  EXPECT_EQ(outcome.exit_code, code) << outcome.err;
  EXPECT_THAT(outcome.err, StartsWith(beginning));
  EXPECT_THAT(outcome.err, HasSubstr(part));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
}

TEST(Command, OutputThatCannotBeWrittenIsAnError) {
  const TemporaryFolder folder;
  const std::string corpus = write_corpus(folder, "");
  const std::vector<std::string> to_full_disk{"sh", "-c", "exec \"$0\" \"$@\" > /dev/full"};
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {"--version"}, {"train", "--help"}, {"inspect", "--corpus", "meld", corpus}, {"completion"}}) {
    const Outcome outcome = run_chorus(arguments, to_full_disk);
    expect_refusal(outcome, data, "chorus", ": error: the standard output could not be written to");
  }
}

class EveryCommand : public testing::TestWithParam<std::string> {};

TEST_P(EveryCommand, StandsInTheOverview) {
  EXPECT_THAT(run_chorus({"--help"}).out, HasSubstr("\n  " + GetParam() + " "));
}

TEST_P(EveryCommand, ExplainsItself) {
  const Outcome outcome = run_chorus({GetParam(), "--help"});
  EXPECT_EQ(outcome.exit_code, done) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("\nusage: chorus " + GetParam() + " [CONFIG.ini]"));
  EXPECT_EQ(outcome.err, "");
}

TEST_P(EveryCommand, RefusesUnknownOptions) {
  const Outcome outcome = run_chorus({GetParam(), "--no-such-option", "1"});
  expect_refusal(outcome, configuration,
                 "chorus " + GetParam() + ": error: unknown option --no-such-option (chorus",
                 "--help lists all");
}

TEST_P(EveryCommand, RefusesConfigFilesThatAreNotThere) {
  expect_refusal(run_chorus({GetParam(), "no_such.ini"}), configuration,
                 "chorus " + GetParam() + ": error: ", "no_such.ini");
}

INSTANTIATE_TEST_SUITE_P(Commands, EveryCommand, testing::ValuesIn(commands),
                         [](const auto& test) { return test.param; });

TEST(Program, WithoutCommandExplainsItself) {
  const Outcome outcome = run_chorus({});
  EXPECT_EQ(outcome.exit_code, configuration);
  EXPECT_EQ(outcome.out, run_chorus({"--help"}).out);
  EXPECT_EQ(run_chorus({"-h"}).exit_code, done);
}

TEST(Program, SaysItsVersion) {
  const Outcome outcome = run_chorus({"--version"});
  EXPECT_EQ(outcome.exit_code, done);
  EXPECT_THAT(outcome.out, testing::MatchesRegex(
                               "chorus [0-9]+\\.[0-9]+\\.[0-9]+\ncommit +[0-9a-z]+\ncompiler +.*, for .*\n"
                               "MPI +.*\nCUDA +.*\n"));
}

// What bash would offer for the last of these words.
std::string completions(const std::string& words) {
  const Outcome outcome = run_chorus(
      {"completion"}, {"bash", "-c",
                       R"(source <("$@"); COMP_WORDS=("$1" )" + words +
                           R"(); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _chorus; echo "${COMPREPLY[@]}")",
                       "bash"});
  EXPECT_EQ(outcome.exit_code, done) << outcome.err;
  return outcome.out;
}

TEST(Program, CompletesCommandsOptionsAndTheirWords) {
  EXPECT_EQ(completions("pr"), "prepare predict\n");
  EXPECT_EQ(completions("train --lora-r"), "--lora-rank\n");
  EXPECT_EQ(completions("train --precision ''"), "f32 bf16\n");
  EXPECT_EQ(completions("evaluate --decode gr"), "greedy\n");
  EXPECT_THAT(run_successfully({"completion", "--shell", "zsh"}), testing::StartsWith("autoload"));
}

TEST(Program, UnknownCommandNamesTheNearest) {
  expect_refusal(run_chorus({"trian"}), configuration, "chorus trian: error: unknown command 'trian';",
                 "did you mean 'train'?");
  expect_refusal(run_chorus({"eval"}), configuration, "chorus eval: error:", "did you mean 'evaluate'?");
  expect_refusal(run_chorus({"--train"}), configuration, "chorus: error: unknown command '--train';",
                 "'train'");
}

TEST(PrepareCommand, MalformedRowsAreDataErrorsWithFileAndLine) {
  const TemporaryFolder folder;
  const std::string corpus =
      write_corpus(folder, "2,Bye,Ross,gloom,negative,0,1,1,1,\"00:00:01,000\",\"00:00:02,000\"\n");
  const Outcome learned = run_chorus({"tokenizer", "--vocabulary-size", "300", "--output",
                                      folder / "tokenizer.model", corpus + "/train_sent_emo.csv"});
  ASSERT_EQ(learned.exit_code, done) << learned.err;
  const Outcome outcome = run_chorus({"prepare", "--corpus", "meld", "--tokenizer",
                                      folder / "tokenizer.model", "--output", folder / "out", corpus});
  expect_refusal(outcome, data, "chorus prepare: error: ", "train_sent_emo.csv:3:");
  EXPECT_THAT(outcome.err, HasSubstr("gloom"));
  EXPECT_FALSE(std::filesystem::exists(folder / "out/train.h5"));

  const Outcome skipped =
      run_chorus({"prepare", "--corpus", "meld", "--tokenizer", folder / "tokenizer.model", "--output",
                  folder / "again", "--skip-bad-rows", corpus});
  EXPECT_EQ(skipped.exit_code, done) << skipped.err;
  EXPECT_TRUE(std::filesystem::exists(folder / "again/train.h5"));
}

TEST(PrepareCommand, ExistingOutputIsNeverOverwritten) {
  const TemporaryFolder folder;
  write_text(folder / "tokens.jsonl", "{\"input_ids\": [1, 2, 3], \"labels\": [-100, 2, 3]}\n");
  const std::vector<std::string> arguments{"prepare", "--corpus", "tokens",       "--vocabulary-size",
                                           "10",      "--output", folder / "out", folder / "tokens.jsonl"};
  const Outcome first = run_chorus(arguments);
  ASSERT_EQ(first.exit_code, done) << first.err;
  expect_refusal(run_chorus(arguments), configuration, "chorus prepare: error: ", folder / "out");
}

TEST(PrepareCommand, TokensAreCheckedAgainstTheVocabulary) {
  const TemporaryFolder folder;
  write_text(folder / "tokens.jsonl",
             "{\"input_ids\": [1, 2], \"labels\": [-100, 2]}\n"
             "{\"input_ids\": [1, 10], \"labels\": [-100, 10]}\n");
  expect_refusal(run_chorus({"prepare", "--corpus", "tokens", "--vocabulary-size", "10", "--output",
                             folder / "out", folder / "tokens.jsonl"}),
                 data, "chorus prepare: error: ", "tokens.jsonl:2");
}

TEST(PrepareCommand, SaysWhatIsMissing) {
  expect_refusal(run_chorus({"prepare"}), configuration, "chorus prepare: error: missing: ", "--output");
  const TemporaryFolder folder;
  write_text(folder / "a.txt", "text\n");
  expect_refusal(run_chorus({"prepare", "--corpus", "text", "--output", folder / "out", folder / "a.txt"}),
                 configuration, "chorus prepare: error: ", "--tokenizer");
  expect_refusal(run_chorus({"prepare", "--corpus", "tokens", "--output", folder / "out", folder / "a.txt"}),
                 configuration, "chorus prepare: error: ", "--base");
}

TEST(PrepareCommand, RefusesOptionsOfAnotherCorpus) {
  expect_refusal(run_chorus({"prepare", "--corpus", "tokens", "--vocabulary-size", "10", "--context", "64",
                             "--output", "unused", "a.jsonl"}),
                 configuration, "chorus prepare: error: ", "--context is for text, this corpus is");
  expect_refusal(run_chorus({"prepare", "--corpus", "tokens", "--vocabulary-size", "10", "--history", "3",
                             "--output", "unused", "a.jsonl"}),
                 configuration, "chorus prepare: error: ", "--history is for dialogues");
}

TEST(InspectCommand, CountsACorpusAndItsDataSets) {
  const TemporaryFolder folder;
  write_text(folder / "c/test.jsonl",
             R"({"id": "a", "utterances": [{"speaker": "Ann", "text": "Hi there.", "label": "joy"}, )"
             R"({"speaker": "Bo", "text": "Hi."}]})");
  const Outcome corpus = run_chorus({"inspect", "--corpus", "jsonl", folder / "c"});
  ASSERT_EQ(corpus.exit_code, done) << corpus.err;
  EXPECT_THAT(corpus.out, StartsWith("test: " + folder / "c/test.jsonl"));
  EXPECT_THAT(corpus.out, HasSubstr("\nutterances                            2\n"));
  EXPECT_THAT(corpus.out, HasSubstr("\n  joy                        1  100.0 %\n"));

  write_text(folder / "tokens.jsonl", "{\"input_ids\": [1, 2, 3], \"labels\": [-100, 2, 3]}\n");
  run_successfully({"prepare", "--corpus", "tokens", "--vocabulary-size", "10", "--output", folder / "d",
                    folder / "tokens.jsonl"});
  for (const std::string& input : {folder / "d", folder / "d/train.h5"}) {
    const Outcome data_set = run_chorus({"inspect", input});
    ASSERT_EQ(data_set.exit_code, done) << data_set.err;
    EXPECT_THAT(data_set.out, StartsWith(folder / "d/train.h5\n"));
    EXPECT_THAT(data_set.out, HasSubstr("\nsupervised tokens           2\n"));
  }
  expect_refusal(run_chorus({"inspect", folder / "c"}), data, "chorus inspect: error: ", "--corpus NAME");
}

TEST(InspectCommand, ShowsPrompts) {
  const TemporaryFolder folder;
  run_successfully({"sample", "--train-dialogues", "5", "--dev-dialogues", "2", "--test-dialogues", "2",
                    "--paragraphs", "60", "--output", folder / "c"});
  run_successfully({"tokenizer", "--vocabulary-size", "400", "--output", folder / "t.model",
                    folder / "c/pretraining.txt"});
  run_successfully({"prepare", "--tokenizer", folder / "t.model", "--recipe", "plain", "--output",
                    folder / "d", folder / "c"});
  const Outcome shown =
      run_chorus({"inspect", "--show", "2", "--tokenizer", folder / "t.model", folder / "d/test.h5"});
  ASSERT_EQ(shown.exit_code, done) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("\n--- test: dialogue 0, utterance 0, "));
  EXPECT_THAT(shown.out, HasSubstr("\n--- test: dialogue 0, utterance 1, "));
  EXPECT_THAT(shown.out, Not(HasSubstr("utterance 2, ")));
  EXPECT_THAT(shown.out, HasSubstr("Name the feeling of this line. Feelings: neutral, surprise,"));
  EXPECT_THAT(shown.out, HasSubstr(" Feeling:\n--> "));
  expect_refusal(run_chorus({"inspect", "--show", "2", folder / "d"}), configuration,
                 "chorus inspect: error: ", "it needs their --base or --tokenizer");
}

TEST(InspectCommand, WritesWhatCorporaShareOnce) {
  const TemporaryFolder folder;
  const std::string texts =
      R"("utterances": [{"speaker": "Ann", "text": "The very same words, all six!", "label": "joy"}]})";
  write_text(folder / "a/test.jsonl", R"({"id": "one", )" + texts);
  write_text(folder / "b/test.jsonl", R"({"id": "two", )" + texts);
  const std::vector<std::string> arguments{"inspect",
                                           "--leakage",
                                           "jsonl=" + folder / "a",
                                           "jsonl=" + folder / "b",
                                           "--output",
                                           folder / "leaked.jsonl"};
  const Outcome outcome = run_chorus(arguments);
  ASSERT_EQ(outcome.exit_code, done) << outcome.err;
  EXPECT_THAT(outcome.out, StartsWith("jsonl/test: 1 of 1 utterances are long enough to compare\n"
                                      "  in jsonl/test   1  100.0 %\n"));
  EXPECT_THAT(read_text(folder / "leaked.jsonl"),
              StartsWith(R"({"corpus":"jsonl","split":"test","dialogue":"one","utterance":"0",)"));
  expect_refusal(run_chorus(arguments), configuration, "chorus inspect: error: --output ",
                 "is not overwritten");
}

TEST(InspectCommand, SaysWhatDoesNotFitTogether) {
  const std::string error = "chorus inspect: error: ";
  expect_refusal(run_chorus({"inspect", "--corpus", "emory", "a"}), configuration, error,
                 "did you mean 'emorynlp'?");
  expect_refusal(run_chorus({"inspect", "--corpus", "meld", "a", "b"}), configuration, error,
                 "takes one folder, not 2");
  expect_refusal(run_chorus({"inspect", "--leakage", "meld=a"}), configuration, error,
                 "compares two corpora");
  expect_refusal(run_chorus({"inspect", "--leakage", "a", "b"}), configuration, error,
                 "'a' is not NAME=FOLDER");
  expect_refusal(run_chorus({"inspect", "--leakage", "--corpus", "meld", "a"}), configuration, error,
                 "leave --corpus out");
  expect_refusal(run_chorus({"inspect", "--output", "x", "a"}), configuration, error,
                 "--output is for --leakage");
  expect_refusal(run_chorus({"inspect", "--leakage-words", "3", "a"}), configuration, error,
                 "--leakage-words is for --leakage");
}

TEST(SampleCommand, WritesACorpusOnceAndTheSameForTheSameSeed) {
  const TemporaryFolder folder;
  const auto sample = [&](const std::string& name, const std::string& seed) {
    return run_chorus(
        {"sample", "--train-dialogues", "5", "--paragraphs", "9", "--seed", seed, "--output", folder / name});
  };
  const Outcome outcome = sample("a", "7");
  ASSERT_EQ(outcome.exit_code, done) << outcome.err;
  expect_refusal(sample("a", "7"), configuration, "chorus sample: error: ", folder / "a");
  EXPECT_EQ(sample("b", "7").exit_code, done);
  EXPECT_EQ(sample("c", "8").exit_code, done);
  EXPECT_EQ(read_text(folder / "a/test_sent_emo.csv"), read_text(folder / "b/test_sent_emo.csv"));
  EXPECT_NE(read_text(folder / "a/test_sent_emo.csv"), read_text(folder / "c/test_sent_emo.csv"));
}

TEST(InitCommand, WritesTheTypeThatIsAskedFor) {
  const TemporaryFolder folder;
  write_tiny_base(folder);
  run_successfully({"init", "--tokenizer", folder / "a.model", "--precision", "bf16", "--hidden-size", "16",
                    "--layers", "1", "--query-heads", "2", "--key-value-heads", "1", "--head-width", "8",
                    "--output", folder / "half"});
  EXPECT_THAT(read_text(folder / "base/config.json"), HasSubstr("float32"));
  EXPECT_THAT(read_text(folder / "half/config.json"), HasSubstr("bfloat16"));
  const std::string weights = read_text(folder / "half/model.safetensors");
  EXPECT_THAT(weights, HasSubstr(R"("dtype":"BF16")"));
  EXPECT_THAT(weights, testing::Not(HasSubstr(R"("dtype":"F32")")));
  EXPECT_LT(weights.size(), 0.6 * static_cast<double>(read_text(folder / "base/model.safetensors").size()));
}

TEST(InitCommand, SizesThatNoModelHasAreRefusedAtOnce) {
  const TemporaryFolder folder;
  write_tiny_base(folder);
  expect_refusal(run_chorus({"init", "--tokenizer", folder / "a.model", "--layers", "2147483647", "--output",
                             folder / "huge"}),
                 data, "chorus init: error: ", "num_hidden_layers is 2147483647, more than 10000");
  EXPECT_FALSE(std::filesystem::exists(folder / "huge"));
}

TEST(TokenizerCommand, RefusesMissingTextsAndExistingModels) {
  const TemporaryFolder folder;
  const std::string model = folder / "tokenizer.model";
  expect_refusal(run_chorus({"tokenizer", "--output", model, folder / "none.txt"}), data,
                 "chorus tokenizer: error: ", "none.txt");
  write_text(model, "kept");
  write_text(folder / "a.txt", "some text\n");
  expect_refusal(run_chorus({"tokenizer", "--output", model, folder / "a.txt"}), configuration,
                 "chorus tokenizer: error: ", model);
  EXPECT_EQ(read_text(model), "kept");
}

}  // namespace
}  // namespace chorus
