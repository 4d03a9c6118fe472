// What train, evaluate and generate refuse, and how a stopped training goes on.

#include <algorithm>
#include <csignal>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/model/projector.h"
#include "data/sets/hdf5_file.h"
#include "data/text/text.h"
#include "ops/base/error.h"
#include "tests/launch/featured_data.h"
#include "tests/launch/json_lines.h"
#include "tests/launch/shared_folder.h"
#include "tests/launch/started_program.h"

namespace chorus {
namespace {

using testing::HasSubstr;
using testing::Not;

// One base and its data for all tests of this file.
class TrainCommand : public SharedFolderTest<TrainCommand> {
 public:
  static void fill() {
    const std::string corpus = at("corpus");
    must({"sample", "--train-dialogues", "10", "--dev-dialogues", "3", "--test-dialogues", "3",
          "--paragraphs", "150", "--output", corpus});
    must({"tokenizer", "--vocabulary-size", "420", "--output", at("a.model"), corpus + "/pretraining.txt"});
    must({"tokenizer", "--vocabulary-size", "421", "--output", at("b.model"), corpus + "/pretraining.txt"});
    for (const std::string name : {"a", "b"}) {
      must({"init", "--tokenizer", at(name + ".model"), "--hidden-size", "32", "--layers", "2",
            "--query-heads", "6", "--key-value-heads", "3", "--head-width", "8", "--output",
            at("base_" + name)});
    }
    must({"prepare", corpus, "--base", at("base_a"), "--output", at("data")});
  }

 protected:
  static void must(const std::vector<std::string>& arguments) {
    const Outcome outcome = run_chorus(arguments);
    ASSERT_EQ(outcome.exit_code, 0) << arguments[0] << ": " << outcome.err;
  }
  static std::vector<std::string> training(const std::string& output,
                                           const std::vector<std::string>& more = {}) {
    return joined({"train", "--base", at("base_a"), "--data", at("data"), "--output", at(output),
                   "--lora-rank", "2", "--max-steps", "6", "--eval-steps", "0", "--lora-dropout", "0.1"},
                  more);
  }
  static void expect_refusal(const std::vector<std::string>& arguments, ExitCode code,
                             const std::string& part, const std::vector<std::string>& launcher = {}) {
    const Outcome outcome = run_chorus(arguments, launcher);
    EXPECT_EQ(outcome.exit_code, static_cast<int>(code)) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(part));
  }
};

TEST_F(TrainCommand, DataOfAnotherTokenizerIsRefused) {
  std::vector<std::string> arguments = training("other");
  arguments[2] = at("base_b");
  expect_refusal(arguments, ExitCode::data, "was prepared with the tokenizer");
  expect_refusal(arguments, ExitCode::data, "chorus prepare --base");
  EXPECT_FALSE(std::filesystem::exists(at("other"))) << "nothing is written before the input is checked";
}

TEST_F(TrainCommand, ATokenizerOfAnotherSizeIsRefused) {
  std::filesystem::copy(at("base_a"), at("mixed"));
  std::filesystem::copy_file(at("b.model"), at("mixed") + "/tokenizer.model",
                             std::filesystem::copy_options::overwrite_existing);
  expect_refusal({"generate", "--base", at("mixed"), "hello"}, ExitCode::data, "421");
  std::vector<std::string> arguments = training("with mixed");
  arguments[2] = at("mixed");
  expect_refusal(arguments, ExitCode::data, "421");
}

TEST_F(TrainCommand, HeadsThatTensorRanksDoNotDivideAreRefused) {
  expect_refusal(training("heads", {"--tensor-parallel", "2"}), ExitCode::configuration, "--tensor-parallel",
                 mpirun(2));
  expect_refusal(training("grid", {"--tensor-parallel", "3"}), ExitCode::configuration,
                 "--tensor-parallel 3 does not divide the 2 ranks", mpirun(2));
}

TEST_F(TrainCommand, ItIsSaidThatThereIsNoDevSplit) {
  std::filesystem::copy(at("data"), at("no dev"));
  std::filesystem::remove(at("no dev/dev.h5"));
  std::vector<std::string> arguments = training("undirected", {"--eval-steps", "2"});
  *(std::find(arguments.begin(), arguments.end(), "--data") + 1) = at("no dev");
  EXPECT_THAT(
      run_successfully(arguments),
      HasSubstr("there is no dev split in " + at("no dev") +
                ", only train, test: nothing is scored while training, and the last adapter is kept"));
  expect_refusal({"evaluate", "--base", at("base_a"), "--data", at("no dev"), "--split", "dev"},
                 ExitCode::data, "dev.h5: no such split; " + at("no dev") + " has train, test");
}

// From dialogues without labels to predictions without scores.
TEST_F(TrainCommand, DialoguesWithoutLabelsAreAnswered) {
  const std::string dialogue =
      R"({"id": "x", "utterances": [{"speaker": "Mia", "text": "My toy broke."}, {"speaker": "Tom", "text": "Oh!"}]})";
  const std::string labelled =
      R"({"id": "y", "utterances": [{"speaker": "Mia", "text": "Yes!", "label": "glad"}]})";
  write_text(at("own/labels.json"), R"(["calm", "glad"])");
  write_text(at("own/train.jsonl"), labelled);
  for (const std::string split : {"dev", "test"}) write_text(at("own/" + split + ".jsonl"), dialogue);
  must({"prepare", "--corpus", "jsonl", at("own"), "--base", at("base_a"), "--output", at("unlabelled")});
  std::vector<std::string> arguments = training("of one", {"--eval-steps", "2"});
  *(std::find(arguments.begin(), arguments.end(), "--data") + 1) = at("unlabelled");
  EXPECT_THAT(run_successfully(arguments), HasSubstr("unlabelled has no gold labels: nothing is scored"));
  for (const std::string decode : {"score", "greedy"}) {
    const std::string output = at("answers by " + decode);
    EXPECT_THAT(run_successfully({"evaluate", "--base", at("base_a"), "--adapter", at("of one"), "--data",
                                  at("unlabelled"), "--decode", decode, "--output", output}),
                HasSubstr("there are no gold labels, so nothing is scored"));
    const std::string predictions = read_text(output + "/predictions.jsonl");
    EXPECT_EQ(std::count(predictions.begin(), predictions.end(), '\n'), 2);
    EXPECT_THAT(predictions, HasSubstr(R"("utterance":"1","speaker":"Tom","text":"Oh!","predicted":)"));
    EXPECT_THAT(read_text(output + "/eval_results.json"), HasSubstr("\"predicted\""));
    expect_refusal({"score", output + "/predictions.jsonl"}, ExitCode::data, "dialogues without labels");
  }
  write_text(at("list.jsonl"), "");
  expect_refusal(
      {"evaluate", "--base", at("base_a"), "--data", at("unlabelled"), "--exclude", at("list.jsonl")},
      ExitCode::configuration, "--exclude: the test split has no gold labels");
}

// What cannot be trained on is not prepared.
TEST_F(TrainCommand, DataIsOnlyPreparedForABaseThatTakesIt) {
  const std::vector<std::string> prepare{"prepare",     at("corpus"),  "--output", at("never"),
                                         "--tokenizer", at("a.model"), "--base"};
  const auto with_base = [&](const std::string& base) {
    std::vector<std::string> arguments = prepare;
    arguments.push_back(at(base));
    return arguments;
  };
  std::filesystem::copy(at("base_a"), at("bare"));
  std::filesystem::remove(at("bare/tokenizer.model"));
  expect_refusal(with_base("bare"), ExitCode::configuration,
                 "copy --tokenizer to " + at("bare/tokenizer.model") + " and leave the option out");
  expect_refusal(with_base("base_b"), ExitCode::configuration,
                 "is another one than " + at("base_b/tokenizer.model"));
  std::string ids = "1", labels = "-100";
  for (int i = 0; i < 3000; ++i) {
    ids += ",5";
    labels += ",5";
  }
  write_text(at("long.jsonl"), "\n{\"input_ids\": [" + ids + "], \"labels\": [" + labels + "]}\n");
  expect_refusal(
      {"prepare", "--corpus", "tokens", at("long.jsonl"), "--base", at("base_a"), "--output", at("never")},
      ExitCode::data, "long.jsonl:2: 3000 tokens, and the base has ");
  EXPECT_FALSE(std::filesystem::exists(at("never")));
  must({"prepare", "--corpus", "tokens", at("long.jsonl"), "--vocabulary-size", "420", "--output",
        at("long")});
  std::vector<std::string> arguments = training("long run", {"--tokens-per-microbatch", "4000"});
  *(std::find(arguments.begin(), arguments.end(), "--data") + 1) = at("long");
  expect_refusal(arguments, ExitCode::data, " positions: shorten the token lists");
}

// Within its window a Mistral is a LLaMA.
TEST_F(TrainCommand, TextsBeyondASlidingWindowAreRefused) {
  std::filesystem::copy(at("base_a"), at("windowed"));
  nlohmann::json config = nlohmann::json::parse(read_text(at("windowed/config.json")));
  config.update(
      {{"architectures", {"MistralForCausalLM"}}, {"model_type", "mistral"}, {"sliding_window", 5}});
  write_text(at("windowed/config.json"), config.dump());
  write_text(at("five.jsonl"), R"({"input_ids": [1, 5, 6, 7, 8], "labels": [-100, 5, 6, 7, 8]})");
  write_text(at("seven.jsonl"),
             R"({"input_ids": [1, 5, 6, 7, 8, 9, 9], "labels": [-100, 5, 6, 7, 8, 9, 9]})");
  const auto prepare = [&](const std::string& tokens, const std::string& base) {
    return std::vector<std::string>{"prepare", "--corpus", "tokens",   at(tokens + ".jsonl"),
                                    "--base",  at(base),   "--output", at(tokens)};
  };
  expect_refusal(prepare("seven", "windowed"), ExitCode::data,
                 "seven.jsonl:1: 6 tokens, and the base has a sliding window of 5 tokens: shorten the line");
  must(prepare("seven", "base_a"));
  must(prepare("five", "windowed"));
  const auto train_on = [&](const std::string& data) {
    std::vector<std::string> arguments = training("on " + data);
    *(std::find(arguments.begin(), arguments.end(), "--base") + 1) = at("windowed");
    *(std::find(arguments.begin(), arguments.end(), "--data") + 1) = at(data);
    return arguments;
  };
  expect_refusal(train_on("seven"), ExitCode::data,
                 " tokens, the base has a sliding window of 5 tokens: shorten");
  must(train_on("five"));
}

TEST_F(TrainCommand, SamplesThatFitNoMicroBatchAreRefused) {
  expect_refusal(training("short", {"--tokens-per-microbatch", "16"}), ExitCode::configuration,
                 "--tokens-per-microbatch");
}

TEST_F(TrainCommand, ContradictionsAreRefused) {
  expect_refusal(training("x", {"--lora-targets", "q,z"}), ExitCode::configuration, "z");
  expect_refusal(training("x", {"--method", "full", "--lora-plus-ratio", "4"}), ExitCode::configuration,
                 "--lora-plus-ratio 4 is of the factors of adapters: leave it out of --method full");
  expect_refusal(training("x", {"--resume", at("nowhere")}), ExitCode::configuration, "no such checkpoint");
  expect_refusal(training("x", {"--learning-rat", "1"}), ExitCode::configuration, "learning-rate");
}

TEST_F(TrainCommand, AnAdapterDecidesItsOwnShape) {
  must(training("first"));
  std::vector<std::string> next{"train",     "--base",       at("base_a"), "--data",   at("data"),
                                "--adapter", at("first"),    "--output",   at("next"), "--max-steps",
                                "2",         "--eval-steps", "0"};
  must(next);
  EXPECT_THAT(read_text(at("next/config.ini")), HasSubstr("lora-rank = 2"));
  must({"train", at("next/config.ini"), "--output", at("next again")});
  EXPECT_EQ(read_text(at("next/adapter_model.safetensors")),
            read_text(at("next again/adapter_model.safetensors")));
  next[8] = at("wide");
  next.insert(next.end(), {"--lora-rank", "4"});
  expect_refusal(next, ExitCode::configuration, "--lora-rank differs from that of --adapter");
}

// As chorus slurm, study and sweep call it: the adapter is where a training starts that has no checkpoint yet.
TEST_F(TrainCommand, AStageFromAnAdapterIsResumed) {
  must(training("stage one"));
  const auto stage = [](const std::string& output, const std::vector<std::string>& more) {
    return joined({"train", "--base", at("base_a"), "--data", at("data"), "--adapter", at("stage one"),
                   "--output", at(output), "--max-steps", "4", "--eval-steps", "0", "--resume", "auto"},
                  more);
  };
  must(stage("straight on", {}));
  const Outcome stopped = run_chorus(stage("stopped stage", {"--max-time", "0.000001"}));
  ASSERT_EQ(stopped.exit_code, static_cast<int>(ExitCode::preempted)) << stopped.err;
  const Outcome resumed = run_chorus(stage("stopped stage", {}));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_THAT(resumed.out, HasSubstr("continues from "));
  EXPECT_EQ(read_text(at("straight on/adapter_model.safetensors")),
            read_text(at("stopped stage/adapter_model.safetensors")));
  // The checkpoint of another adapter's shape is not this stage's.
  must(training("wide stage", {"--lora-rank", "3"}));
  std::vector<std::string> wide = stage("stopped stage", {});
  wide[6] = at("wide stage");
  expect_refusal(wide, ExitCode::configuration, "lora-rank was 2 and is now 3");
}

// What would give other numbers than the run that was stopped, by name; the run stays as it was.
TEST_F(TrainCommand, ARunOfAnotherKindIsNotResumed) {
  must({"init", "--tokenizer", at("a.model"), "--hidden-size", "32", "--layers", "2", "--query-heads", "6",
        "--key-value-heads", "3", "--head-width", "8", "--seed", "7", "--output", at("base_other")});
  must({"sample", "--train-dialogues", "10", "--dev-dialogues", "3", "--test-dialogues", "3", "--seed", "7",
        "--output", at("corpus_other")});
  must({"prepare", at("corpus_other"), "--base", at("base_a"), "--output", at("data_other")});
  must(training("first start"));
  must(training("second start", {"--seed", "5"}));
  const std::vector<std::string> start{"--adapter", at("first start")};
  const Outcome stopped = run_chorus(training("a run", {start[0], start[1], "--max-time", "0.000001"}));
  ASSERT_EQ(stopped.exit_code, static_cast<int>(ExitCode::preempted)) << stopped.err;
  const std::string config = read_text(at("a run/config.ini"));

  const std::vector<std::pair<std::vector<std::string>, std::string>> others{
      {{"--base", at("base_other")}, "content of the base was"},
      {{"--data", at("data_other")}, "content of the data was"},
      {{"--adapter", at("second start")}, "content of what it starts from was"},
      {{"--warmup-steps", "3"}, "warmup-steps was 1 and is now 3"},
      {{"--adam-beta2", "0.9"}, "adam-beta2 was 0.999 and is now 0.9"},
      {{"--precision", "bf16"}, "precision was \"f32\" and is now \"bf16\""},
      {{"--eval-steps", "2"}, "eval-steps was 0 and is now 2"},
      {{"--learning-rate", "0.1", "--weight-decay", "0.5"}, "is now 0.1; weight-decay was 0"}};
  for (const auto& [changed, message] : others) {
    std::vector<std::string> arguments = training("a run", {start[0], start[1], "--resume", "auto"});
    arguments.insert(arguments.end(), changed.begin(), changed.end());
    expect_refusal(arguments, ExitCode::configuration, message);
  }
  EXPECT_EQ(read_text(at("a run/config.ini")), config);
  // The same base under another name is the same.
  std::filesystem::copy(at("base_a"), at("base_moved"));
  must(training("a run", {start[0], start[1], "--resume", "auto", "--base", at("base_moved")}));
}

// As a job that is put back into the queue after its end.
TEST_F(TrainCommand, AFinishedRunIsNotTrainedAgain) {
  const std::vector<std::string> again{"--resume", "auto"};
  must(training("finished", {"--logging-steps", "1"}));
  const std::vector<std::string> files{"adapter_model.safetensors", "trainer_log.jsonl", "config.ini",
                                       "train_results.json", "run.json"};
  const auto contents = [&] {
    std::vector<std::string> all;
    for (const std::string& file : files) all.push_back(read_text(at("finished/" + file)));
    return all;
  };
  const std::vector<std::string> before = contents();
  const std::string nothing = "the run in " + at("finished") + " is finished: nothing is left to do\n";
  EXPECT_THAT(run_successfully(training("finished", again)), testing::EndsWith(nothing));
  EXPECT_THAT(run_successfully(training("finished", again), mpirun(2)), testing::EndsWith(nothing));
  expect_refusal(training("finished", {"--resume", "auto", "--learning-rate", "0.5", "--seed", "3"}),
                 ExitCode::configuration,
                 "the output folder " + at("finished") +
                     " holds another run, which is finished: seed was 42 and is now 3; learning-rate was ");
  EXPECT_EQ(contents(), before);
  std::filesystem::remove(at("finished/run.json"));
  EXPECT_THAT(run_successfully(training("finished", again)),
              HasSubstr("whether it is the run of these options is not known"));
  write_text(at("finished/run.json"), "[]");
  expect_refusal(training("finished", again), ExitCode::data, "run.json does not say which run it is of");
}

// Nothing is learned at a rate of 0.
TEST_F(TrainCommand, PatienceFinishesATraining) {
  const auto impatient = [&](const std::string& output, const std::vector<std::string>& more) {
    std::vector<std::string> options{"--threads",    "1", "--learning-rate", "0",
                                     "--eval-steps", "1", "--patience",      "2"};
    options.insert(options.end(), more.begin(), more.end());
    return training(output, options);
  };
  const std::string said = run_successfully(impatient("impatient", {"--dev-metric", "accuracy"}));
  EXPECT_THAT(said, HasSubstr("| patience: 1 of 2\n"));
  EXPECT_THAT(said, HasSubstr("ends after step 3 of 6: 2 scorings of dev had no better accuracy than "));
  const auto results = nlohmann::json::parse(read_text(at("impatient/train_results.json")));
  EXPECT_EQ(results.at("finished"), true);
  EXPECT_EQ(results.at("stopped_early"), true);
  EXPECT_EQ(results.at("steps"), 3);
  EXPECT_EQ(results.at("total_steps"), 6);
  EXPECT_EQ(results.at("dev_metric"), "accuracy");
  const std::string log = read_text(at("impatient/trainer_log.jsonl"));
  EXPECT_THAT(log, testing::EndsWith("\"best\":false,\"scorings_since_best\":2,\"stopped_early\":true}\n"));
  EXPECT_EQ(results.at("best_dev_metric"),
            nlohmann::json::parse(log.substr(0, log.find('\n'))).at("eval_accuracy"));
  EXPECT_THAT(read_text(at("impatient/config.ini")), HasSubstr("patience = 2"));
  EXPECT_THAT(run_successfully(impatient("impatient", {"--dev-metric", "accuracy", "--resume", "auto"})),
              testing::EndsWith("is finished: nothing is left to do\n"));
  expect_refusal(impatient("impatient", {"--resume", "auto", "--patience", "3"}), ExitCode::configuration,
                 "patience was 2 and is now 3; dev-metric was \"accuracy\" and is now null");
  // Weighted F1 said aloud is what is chosen by anyway.
  must(training("silent", {"--eval-steps", "3"}));
  must(training("silent", {"--eval-steps", "3", "--dev-metric", "weighted-f1", "--resume", "auto"}));
}

// At a constant rate it is one training of all the steps.
TEST_F(TrainCommand, AFinishedRunIsExtended) {
  const auto of_steps = [&](const std::string& steps, const std::string& output,
                            const std::vector<std::string>& more = {}) {
    std::vector<std::string> options{
        "--schedule",  "constant", "--warmup-steps",  "1", "--eval-steps", "3", "--save-steps", "3",
        "--max-steps", steps,      "--logging-steps", "1", "--threads",    "1"};
    options.insert(options.end(), more.begin(), more.end());
    return training(output, options);
  };
  const std::vector<std::string> extend{"--resume", "auto", "--extend", "on"};
  must(of_steps("6", "extended"));
  expect_refusal(of_steps("9", "extended", {"--resume", "auto"}), ExitCode::configuration,
                 "another run, which is finished: total steps was 6 and is now 9; --extend on goes on");
  expect_refusal(of_steps("3", "extended", extend), ExitCode::configuration,
                 "total steps was 6 and is now 3; name");
  expect_refusal(of_steps("9", "extended", {"--resume", "auto", "--extend", "on", "--seed", "5"}),
                 ExitCode::configuration, "seed was 42 and is now 5");
  EXPECT_THAT(run_successfully(of_steps("9", "extended", extend)),
              HasSubstr("extended after step 6 from 6 steps to 9: the learning rate stays 0.0002\n"));
  must(of_steps("9", "in one go"));
  for (const std::string file : {"adapter_model.safetensors", "checkpoint-9/optimizer.safetensors"})
    EXPECT_EQ(read_text(at("extended/" + file)), read_text(at("in one go/" + file))) << file;
  const auto results = nlohmann::json::parse(read_text(at("extended/train_results.json")));
  EXPECT_EQ(results.at("extended_at"), nlohmann::json({6}));
  EXPECT_EQ(results.at("best_step"),
            nlohmann::json::parse(read_text(at("in one go/train_results.json"))).at("best_step"));
  const auto steps_of = [&](const std::string& run) {
    std::vector<int> steps;
    for (const NumberedLine& line : filled_lines(read_text(at(run + "/trainer_log.jsonl"))))
      steps.push_back(nlohmann::json::parse(line.text).at("current_steps"));
    return steps;
  };
  EXPECT_EQ(steps_of("extended"), steps_of("in one go"));
  const std::string nothing = "is finished: nothing is left to do\n";
  EXPECT_THAT(run_successfully(of_steps("9", "extended", extend)), testing::EndsWith(nothing));
  EXPECT_THAT(run_successfully(of_steps("9", "extended", {"--resume", "auto"})), testing::EndsWith(nothing));
  // Killed, it is not finished, whatever the shorter one had left.
  StartedProgram killed(of_steps("100000", "extended", extend));
  ASSERT_TRUE(killed.says("step 11/")) << killed.wait().err;
  killed.signal(SIGKILL);
  killed.wait();
  EXPECT_FALSE(std::filesystem::exists(at("extended/train_results.json")));
}

TEST_F(TrainCommand, AnExtensionSaysWhatItDoesToTheLearningRateAndWantsACheckpoint) {
  const std::vector<std::string> extend{"--max-steps", "9",    "--threads", "1",
                                        "--resume",    "auto", "--extend",  "on"};
  must(training("without checkpoint", {"--threads", "1"}));
  expect_refusal(training("without checkpoint", extend), ExitCode::configuration,
                 "is finished and left no checkpoint, so that --extend has nothing to go on from");
  expect_refusal(training("x", {"--extend", "on"}), ExitCode::configuration,
                 "--extend is of a run that goes on: add --resume auto");
  must(training("with checkpoint", {"--save-steps", "6", "--threads", "1"}));
  std::vector<std::string> more{"--save-steps", "6"};
  more.insert(more.end(), extend.begin(), extend.end());
  EXPECT_THAT(
      run_successfully(training("with checkpoint", more)),
      HasSubstr("extended after step 6 from 6 steps to 9: the learning rate jumps from 0 to 6.17e-05, the "
                "cosine schedule of 9 steps from here on; the result is not that of one training of 9"));
}

TEST_F(TrainCommand, PatienceIsExtendedToo) {
  const auto impatient = [&](const std::string& patience, const std::vector<std::string>& more = {}) {
    std::vector<std::string> options{"--learning-rate", "0", "--eval-steps", "1",     "--threads", "1",
                                     "--save-steps",    "1", "--patience",   patience};
    options.insert(options.end(), more.begin(), more.end());
    return training("more patient", options);
  };
  const std::vector<std::string> extend{"--resume", "auto", "--extend", "on"};
  EXPECT_THAT(run_successfully(impatient("2")), HasSubstr("ends after step 3 of 6"));
  EXPECT_THAT(run_successfully(impatient("4", extend)), HasSubstr("ends after step 5 of 6"));
  expect_refusal(impatient("3", extend), ExitCode::configuration, "patience was 4 and is now 3");
  EXPECT_THAT(run_successfully(impatient("0", extend)), HasSubstr("trained 6 steps"));
}

TEST_F(TrainCommand, WhatIsOfScoringsWantsThem) {
  expect_refusal(training("x", {"--patience", "2"}), ExitCode::configuration,
                 "--patience 2 counts scorings of dev, and --eval-steps 0 has none");
  expect_refusal(training("x", {"--dev-metric", "loss"}), ExitCode::configuration,
                 "--dev-metric loss is of scorings of dev, and --eval-steps 0 has none");
  std::filesystem::copy(at("data"), at("never scored"));
  std::filesystem::remove(at("never scored/dev.h5"));
  const auto on = [&](const std::string& data, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = training("x", {"--eval-steps", "2"});
    *(std::find(arguments.begin(), arguments.end(), "--data") + 1) = at(data);
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  expect_refusal(on("never scored", {"--patience", "2"}), ExitCode::configuration,
                 "only train, test, and --patience is of its scorings: leave it out");
  write_text(at("words.jsonl"), R"({"input_ids": [1, 5, 6, 7, 8], "labels": [-100, 5, 6, 7, 8]})");
  must({"prepare", "--corpus", "tokens", "train=" + at("words.jsonl"), "dev=" + at("words.jsonl"), "--base",
        at("base_a"), "--output", at("words")});
  expect_refusal(on("words", {"--dev-metric", "macro-f1"}), ExitCode::configuration,
                 "--dev-metric macro-f1 compares labels, and the utterances of the dev split have none");
}

// Also where nothing but the log of the former one is left.
TEST_F(TrainCommand, AnOutputFolderHasOneRun) {
  StartedProgram killed(training("one run", {"--max-steps", "100000", "--logging-steps", "1"}));
  ASSERT_TRUE(killed.says("step 2/")) << killed.wait().err;
  killed.signal(SIGKILL);
  killed.wait();
  const std::string config = read_text(at("one run/config.ini"));
  expect_refusal(training("one run", {"--resume", "auto"}), ExitCode::configuration,
                 "total steps was 100000 and is now 6; name another --output");
  EXPECT_EQ(read_text(at("one run/config.ini")), config);
}

// Killed between its last checkpoint and train_results.json.
TEST_F(TrainCommand, ARunThatLacksOnlyItsResultsGetsThem) {
  must(training("no results", {"--eval-steps", "2", "--save-steps", "2"}));
  const auto results = nlohmann::json::parse(read_text(at("no results/train_results.json")));
  const std::string adapter = read_text(at("no results/adapter_model.safetensors"));
  for (const char* file : {"train_results.json", "adapter_model.safetensors"})
    std::filesystem::remove(at("no results") + "/" + file);
  write_text(at("no results/train_results.json.0123abcd.partial"), "{");
  must(training("no results", {"--eval-steps", "2", "--save-steps", "2", "--resume", "auto"}));
  EXPECT_FALSE(std::filesystem::exists(at("no results/train_results.json.0123abcd.partial")));
  EXPECT_EQ(read_text(at("no results/adapter_model.safetensors")), adapter);
  const auto again = nlohmann::json::parse(read_text(at("no results/train_results.json")));
  for (const char* key : {"finished", "steps", "best_dev_metric", "best_step", "labels", "tokens"})
    EXPECT_EQ(again.at(key), results.at(key)) << key;
}

// A checkpoint has the best model so far, which is the result where no better one comes.
TEST_F(TrainCommand, ACheckpointBringsItsBestModelToAnotherFolder) {
  const std::vector<std::string> options{"--eval-steps", "2", "--save-steps", "2"};
  const auto resume = [&](const std::string& checkpoint, const std::string& output) {
    std::vector<std::string> arguments = training(output, options);
    arguments.insert(arguments.end(), {"--resume", at(checkpoint)});
    return arguments;
  };
  must(training("first folder", options));
  const std::string adapter = read_text(at("first folder/adapter_model.safetensors"));
  for (const std::string step : {"6", "2"}) {
    must(resume("first folder/checkpoint-" + step, "from " + step));
    EXPECT_EQ(read_text(at("from " + step + "/adapter_model.safetensors")), adapter) << step;
    EXPECT_EQ(nlohmann::json::parse(read_text(at("from " + step + "/train_results.json"))).at("best_step"),
              nlohmann::json::parse(read_text(at("first folder/train_results.json"))).at("best_step"));
  }
  // The folder of another run, finished or not, and of anything else.
  must(training("another run", {"--seed", "5"}));
  const std::string others = read_text(at("another run/adapter_model.safetensors"));
  expect_refusal(resume("first folder/checkpoint-6", "another run"), ExitCode::configuration,
                 "another run holds another run, which is finished: seed was 5 and is now 42");
  EXPECT_EQ(read_text(at("another run/adapter_model.safetensors")), others);
  write_text(at("notes/text"), "x");
  expect_refusal(resume("first folder/checkpoint-6", "notes"), ExitCode::configuration,
                 "notes exists and is not empty");
  // Lost, also from beside the checkpoint.
  std::filesystem::remove_all(at("first folder/checkpoint-6/best"));
  expect_refusal(resume("first folder/checkpoint-6", "lost"), ExitCode::data,
                 "the best model so far, that of step ");
  EXPECT_FALSE(std::filesystem::exists(at("lost/adapter_model.safetensors")));
  // As former versions left it.
  std::filesystem::copy(at("first folder/checkpoint-4/best"), at("first folder/best"));
  std::filesystem::remove_all(at("first folder/checkpoint-4/best"));
  must(resume("first folder/checkpoint-4", "beside"));
  EXPECT_EQ(read_text(at("beside/adapter_model.safetensors")), adapter);
}

// The newest checkpoint that is whole counts, and the run becomes the same.
TEST_F(TrainCommand, ADamagedCheckpointIsPassedOverAndSetAside) {
  const std::vector<std::string> options{"--eval-steps", "2", "--save-steps", "2"};
  must(training("damaged", options));
  const std::string adapter = read_text(at("damaged/adapter_model.safetensors"));
  const auto flip = [&](const std::string& file) {
    std::string bytes = read_text(at(file));
    bytes[bytes.size() - 50] = static_cast<char>(bytes[bytes.size() - 50] ^ 4);
    std::filesystem::remove(at(file));  // its other names keep what they have
    write_text(at(file), bytes);
  };
  const auto resume = [&](const std::string& from) {
    std::filesystem::remove(at("damaged/train_results.json"));
    std::vector<std::string> arguments = training("damaged", options);
    arguments.insert(arguments.end(), {"--resume", from});
    return arguments;
  };
  flip("damaged/checkpoint-6/optimizer.safetensors");
  expect_refusal(resume(at("damaged/checkpoint-6")), ExitCode::data,
                 "optimizer.safetensors: the tensor second_moment.");
  std::string said = run_successfully(resume("auto"));
  EXPECT_THAT(
      said, HasSubstr("passed over: " + at("damaged/checkpoint-6/optimizer.safetensors") + ": the tensor "));
  EXPECT_THAT(said, HasSubstr("checkpoint-6 is of a later step: it is set aside as checkpoint-6.aside"));
  EXPECT_THAT(said, HasSubstr("continues from " + at("damaged/checkpoint-4")));
  EXPECT_EQ(read_text(at("damaged/adapter_model.safetensors")), adapter);
  // Whole ones of later steps do not get in the way either, and each keeps its files.
  said = run_successfully(resume(at("damaged/checkpoint-4")));
  EXPECT_THAT(said, HasSubstr("checkpoint-6 is of a later step"));
  EXPECT_TRUE(std::filesystem::exists(at("damaged/checkpoint-6.aside/trainer_state.json")));
  EXPECT_TRUE(std::filesystem::exists(at("damaged/checkpoint-6.aside-2/trainer_state.json")));
  flip("damaged/checkpoint-6/best/adapter_model.safetensors");
  flip("damaged/checkpoint-4/trainer_state.json");
  EXPECT_THAT(run_successfully(resume("auto")), HasSubstr("continues from " + at("damaged/checkpoint-2")));
  for (const std::string step : {"2", "4", "6"})
    flip("damaged/checkpoint-" + step + "/adapter_model.safetensors");
  expect_refusal(resume("auto"), ExitCode::data,
                 "no checkpoint in " + at("damaged") + " can be gone on from");
}

// Two at once would mix their checkpoints, logs and results.
TEST_F(TrainCommand, AnOutputFolderHasOneRunAtATime) {
  StartedProgram first(training("shared", {"--max-steps", "100000", "--logging-steps", "1"}));
  ASSERT_TRUE(first.says("step 2/")) << first.wait().err;
  const std::string who =
      "shared is being written by process " + std::to_string(first.process()) + " on host ";
  expect_refusal(training("shared"), ExitCode::configuration, who);
  expect_refusal(training("shared", {"--resume", "auto"}), ExitCode::configuration, who);
  expect_refusal({"evaluate", "--base", at("base_a"), "--data", at("data"), "--output", at("shared")},
                 ExitCode::configuration, who);
  expect_refusal({"prepare", at("corpus"), "--base", at("base_a"), "--output", at("shared")},
                 ExitCode::configuration, who);
  expect_refusal({"sweep", "--base", at("base_a"), "--data", at("data"), "--vary", "lora-rank=2", "--output",
                  at("shared")},
                 ExitCode::configuration, who);
  EXPECT_TRUE(std::filesystem::exists(at("shared/run.lock")));
  first.signal(SIGUSR2);
  EXPECT_EQ(first.wait().exit_code, static_cast<int>(ExitCode::preempted));
  EXPECT_FALSE(std::filesystem::exists(at("shared/run.lock")));
  // One that was killed is in nobody's way.
  StartedProgram killed(training("shared", {"--max-steps", "100000", "--resume", "auto"}));
  ASSERT_TRUE(killed.says("continues from ")) << killed.wait().err;
  killed.signal(SIGKILL);
  killed.wait();
  EXPECT_TRUE(std::filesystem::exists(at("shared/run.lock")));
  EXPECT_EQ(
      run_chorus(training("shared", {"--max-steps", "100000", "--resume", "auto", "--max-time", "1e-6"}))
          .exit_code,
      static_cast<int>(ExitCode::preempted));
}

// Trained, gone on with and asked on the codes that it was trained on; else refused or said.
TEST_F(TrainCommand, ABaseInFewBitsIsTrainedOnAndAsked) {
  must({"init", "--tokenizer", at("a.model"), "--hidden-size", "64", "--layers", "1", "--query-heads", "2",
        "--key-value-heads", "2", "--head-width", "32", "--intermediate-size", "128", "--output",
        at("base_64")});
  for (const std::string kind : {"int8", "nf4"}) {
    const auto more = [&](const std::string& precision, const std::string& time) {
      return training("on " + kind, {"--base", at("base_64"), "--base-precision", precision, "--max-time",
                                     time, "--resume", "auto"});
    };
    const Outcome stopped = run_chorus(more(kind, "0.000001"));
    ASSERT_EQ(stopped.exit_code, static_cast<int>(ExitCode::preempted)) << stopped.err;
    expect_refusal(more("same", "0"), ExitCode::configuration,
                   "base-precision was \"" + kind + "\" and is now null");
    must(more(kind, "0"));
    std::vector<std::string> asking{
        "evaluate", "--base",   at("base_64"),    "--adapter", at("on " + kind),
        "--data",   at("data"), "--compare-base", "off",       "--base-precision"};
    const std::string said = "was trained with --base-precision " + kind;
    asking.push_back(kind);
    const Outcome alike = run_chorus(asking);
    EXPECT_EQ(alike.exit_code, 0) << alike.err;
    EXPECT_THAT(alike.out, Not(HasSubstr(said)));
    asking.back() = "same";
    const Outcome other = run_chorus(asking);
    EXPECT_EQ(other.exit_code, 0) << other.err;
    EXPECT_THAT(other.out, HasSubstr(said + ", and this is with same"));
  }
  expect_refusal(training("x", {"--base-precision", "nf4"}), ExitCode::configuration,
                 "--base-precision nf4 needs columns in multiples of 64, and "
                 "model.layers.0.self_attn.q_proj.weight has 32");
  expect_refusal(training("x", {"--base-precision", "int8", "--method", "full"}), ExitCode::configuration,
                 "--base-precision int8 is of a frozen base: leave it out of --method full");
}

TEST_F(TrainCommand, AWarmUpBeyondTheEndIsKeptAndSaid) {
  const Outcome outcome = run_chorus(
      training("short trial", {"--warmup-steps", "100", "--learning-rate", "1e-3", "--logging-steps", "1"}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              HasSubstr("the warm-up of 100 steps is longer than the training of 6: the learning "
                        "rate only reaches 5e-05 of 0.001"));
  EXPECT_THAT(outcome.out, HasSubstr(" 5.0e-05 "));
}

TEST_F(TrainCommand, OddBasesAndAdaptersAreSaidInALine) {
  // One more row than the tokenizer has pieces, as an added [PAD] leaves it, and ends of LLaMA-1.
  must({"init", "--tokenizer", at("b.model"), "--hidden-size", "32", "--layers", "2", "--query-heads", "6",
        "--key-value-heads", "3", "--head-width", "8", "--output", at("padded")});
  std::filesystem::copy_file(at("a.model"), at("padded") + "/tokenizer.model",
                             std::filesystem::copy_options::overwrite_existing);
  auto config = nlohmann::json::parse(read_text(at("padded/config.json")));
  config["eos_token_id"] = 1;
  write_text(at("padded/config.json"), config.dump());
  const std::string rows = at("padded") +
                           " has 421 rows for the 420 pieces of its tokenizer: the last 1 are "
                           "neither read nor generated";
  EXPECT_THAT(
      run_successfully({"prepare", at("corpus"), "--base", at("padded"), "--output", at("padded data")}),
      HasSubstr(rows));
  std::vector<std::string> arguments = training("on padded");
  arguments[2] = at("padded");
  arguments[4] = at("padded data");
  EXPECT_THAT(run_successfully(arguments), HasSubstr(rows));
  const std::string generated =
      run_successfully({"generate", "--base", at("padded"), "--max-new-tokens", "3", "- hello"});
  EXPECT_THAT(generated, HasSubstr(rows));
  EXPECT_THAT(generated,
              HasSubstr(at("padded") + ": config.json ends texts with token 1, the tokenizer with 2"));

  must(training("of base_a"));
  const std::string scored =
      run_successfully({"evaluate", "--base", at("padded"), "--adapter", at("of base_a"), "--data",
                        at("padded data"), "--compare-base", "off"});
  EXPECT_THAT(scored, HasSubstr("the adapter " + at("of base_a") + " was trained on " + at("base_a") +
                                ", the base is " + at("padded")));
  EXPECT_THAT(scored, Not(HasSubstr("was trained with the labels")));
  EXPECT_THAT(scored, Not(HasSubstr("config.json ends texts"))) << "nothing is generated";

  auto results = nlohmann::json::parse(read_text(at("of base_a/train_results.json")));
  EXPECT_EQ(results.at("labels").size(), 7U);
  results["labels"] = {"calm", "glad"};
  write_text(at("of base_a/train_results.json"), results.dump());
  EXPECT_THAT(
      run_successfully({"evaluate", "--base", at("base_a"), "--adapter", at("of base_a"), "--data",
                        at("data"), "--compare-base", "off"}),
      HasSubstr(R"( was trained with the labels ["calm","glad"], those of the data are ["neutral",)"));
}

TEST_F(TrainCommand, TheFolderOfPredictionsIsMadeOrRefusedBeforeAnyScoring) {
  std::vector<std::string> arguments{
      "evaluate", "--base", at("base_a"), "--data", at("data"), "--predictions", at("new folder/p.jsonl")};
  must(arguments);
  EXPECT_TRUE(std::filesystem::exists(at("new folder/p.jsonl")));
  arguments.back() = at("base_a/config.json/p.jsonl");
  const Outcome outcome = run_chorus(arguments);
  EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::configuration));
  EXPECT_THAT(outcome.err, HasSubstr("config.json is no folder"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("utterances, each scored once")));
  expect_refusal({"evaluate", "--base", at("base_a"), "--data", at("data"), "--match", "instructerc"},
                 ExitCode::configuration, "--match says nothing without --decode greedy");
  expect_refusal({"prepare", at("corpus"), "--base", at("base_a"), "--output", at("base_a/config.json/d")},
                 ExitCode::configuration, "config.json is no folder");
}

// From features to a projector beside the adapter, to answers of both kinds; and whatever does not fit together.
TEST_F(TrainCommand, FeaturesAreMappedByAProjector) {
  write_with_features(at("data"), at("featured"), 6);
  write_with_features(at("data"), at("wide features"), 7);
  const auto with_data = [](std::vector<std::string> arguments, const std::string& data) {
    *(std::find(arguments.begin(), arguments.end(), "--data") + 1) = at(data);
    return arguments;
  };
  const std::vector<std::string> first =
      with_data(training("seeing", {"--projector-hidden", "10", "--eval-steps", "3"}), "featured");
  must(first);
  const auto saved = find_projector(at("seeing"));
  ASSERT_TRUE(saved);
  EXPECT_EQ(saved->config, (ProjectorConfig{ProjectorKind::mlp, 6, 10}));

  for (const std::string decode : {"score", "greedy"}) {
    const Outcome outcome =
        run_chorus({"evaluate", "--base", at("base_a"), "--adapter", at("seeing"), "--data", at("featured"),
                    "--decode", decode, "--output", at("seen by " + decode)});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("the base alone is left out: it has no projector"));
    EXPECT_THAT(outcome.out, HasSubstr("base + adapter"));
  }
  must({"generate", "--base", at("base_a"), "--adapter", at("seeing"), "--max-new-tokens", "2", "hello"});

  std::vector<std::string> next{"train",        "--base",     at("base_a"),  "--data", at("featured"),
                                "--adapter",    at("seeing"), "--max-steps", "1",      "--output",
                                at("seeing on")};
  must(next);
  EXPECT_THAT(read_text(at("seeing on/config.ini")), HasSubstr("projector-hidden = 10"));
  next.back() = at("refused");
  next.insert(next.end(), {"--projector-hidden", "11"});
  expect_refusal(next, ExitCode::configuration, "--projector-hidden 11 differs from that in");
  expect_refusal(
      with_data(training("refused", {"--projector", "linear", "--projector-hidden", "4"}), "featured"),
      ExitCode::configuration, "leave one of them out");

  must(training("blind"));
  const auto evaluation = [](const std::string& adapter, const std::string& data) {
    return std::vector<std::string>{"evaluate",  "--base", at("base_a"), "--adapter",
                                    at(adapter), "--data", at(data)};
  };
  expect_refusal(evaluation("blind", "featured"), ExitCode::data, "has no projector for them");
  expect_refusal(evaluation("seeing", "data"), ExitCode::data, "was trained with rows of 6 features");
  expect_refusal(evaluation("seeing", "wide features"), ExitCode::data, "those of the test split have 7");
  expect_refusal({"evaluate", "--base", at("base_a"), "--data", at("featured")}, ExitCode::data,
                 "give the --adapter that was trained with such features");
  std::filesystem::copy_file(at("data/dev.h5"), at("wide features/dev.h5"),
                             std::filesystem::copy_options::overwrite_existing);
  expect_refusal(with_data(training("refused"), "wide features"), ExitCode::data,
                 "have 7 numbers in train.h5 and 0 in dev.h5");
}

std::vector<double> logged(const std::string& run, const char* name) {
  std::vector<double> values;
  for (const nlohmann::json& line : read_json_lines(run + "/trainer_log.jsonl"))
    if (line.contains(name)) values.push_back(line[name]);
  return values;
}

// What a data set holds, as lines for the tokens corpus, with its features in a file beside them.
void write_as_token_lists(const Dataset& dataset, const std::string& lines, const std::string& features) {
  std::ofstream out(lines);
  for (std::int64_t i = 0; i < std::ssize(dataset.samples); ++i) {
    Sequence sequence = dataset.sequence(i);
    nlohmann::json line{{"group", std::to_string(dataset.samples[static_cast<std::size_t>(i)].tree)},
                        {"labels", sequence.labels}};
    for (std::int32_t& token : sequence.tokens) {
      if (!is_feature(token)) continue;
      line["features"].push_back(std::to_string(feature_row(token)));
      token = -200;
    }
    line["input_ids"] = sequence.tokens;
    out << line.dump() << "\n";
  }
  Hdf5Writer file(features);
  for (std::int64_t row = 0; row < dataset.features.rows(); ++row)
    file.write<float>(std::to_string(row), dataset.features.row(row));
  file.commit();
}

TEST_F(TrainCommand, TokenListsWithFeaturesTrainAsTheDataSetThatTheyTellOf) {
  write_with_features(at("data"), at("told"), 6);
  write_as_token_lists(Dataset::read(at("told/train.h5")), at("lists.jsonl"), at("lists.h5"));
  must({"prepare", "--corpus", "tokens", "train=" + at("lists.jsonl"), "dev=" + at("lists.jsonl"), "--base",
        at("base_a"), "--features", at("lists.h5"), "--half-precision-features", "--output", at("lists")});
  const auto train = [](const std::string& data, const std::string& output,
                        const std::vector<std::string>& more) {
    std::vector<std::string> arguments = training(output, more);
    arguments[4] = at(data);
    must(arguments);
    return logged(at(output), "loss");
  };
  const std::vector<double> told =
      train("told", "told trained", {"--max-steps", "2", "--logging-steps", "1"});
  EXPECT_EQ(told.size(), 2U);
  EXPECT_EQ(
      train("lists", "lists trained", {"--max-steps", "2", "--logging-steps", "1", "--eval-steps", "2"}),
      told);
  EXPECT_TRUE(find_projector(at("lists trained")));
  EXPECT_EQ(logged(at("lists trained"), "eval_loss").size(), 1U) << "dev has no labels, but a loss";
  EXPECT_THAT(run_successfully({"inspect", at("lists"), "--show", "1", "--base", at("base_a")}),
              HasSubstr("[feature 0]"));

  const std::vector<std::string> refused{"prepare",     "--base",          at("base_a"), "--output",
                                         at("refused"), at("lists.jsonl"), "--corpus"};
  const auto expect_refused = [&](const std::vector<std::string>& more, const std::string& part) {
    std::vector<std::string> arguments = refused;
    arguments.insert(arguments.end(), more.begin(), more.end());
    expect_refusal(arguments, ExitCode::configuration, part);
  };
  expect_refused({"text", "--features", at("lists.h5")},
                 "--features is for dialogues and messages and tokens, this corpus is text");
  expect_refused({"tokens", "--features", at("lists.h5"), "--feature-key", "{utterance}"},
                 "--feature-key is for dialogues");
  expect_refused({"tokens", "--feature-token-id", "9"}, "--feature-token-id says nothing without --features");
}

TEST_F(TrainCommand, AFullTrainingKeepsItsProjectorBesideTheModel) {
  write_with_features(at("data"), at("for all weights"), 6);
  std::vector<std::string> arguments = training("all weights", {"--method", "full", "--projector", "linear"});
  arguments[4] = at("for all weights");
  must(arguments);
  const Outcome outcome = run_chorus(
      {"evaluate", "--base", at("all weights"), "--data", at("for all weights"), "--split", "dev"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  // Adapters on such a base go on with its projector.
  arguments = training("adapter on it");
  arguments[2] = at("all weights");
  arguments[4] = at("for all weights");
  must(arguments);
  EXPECT_THAT(read_text(at("adapter on it/config.ini")), HasSubstr("projector = linear"));
}

TEST_F(TrainCommand, DamagedDataIsRefused) {
  std::filesystem::create_directories(at("damaged"));
  std::string bytes = read_text(at("data/train.h5"));
  write_text(at("damaged/train.h5"), bytes.substr(0, bytes.size() / 2));
  std::vector<std::string> arguments = training("from damaged");
  arguments[4] = at("damaged");
  expect_refusal(arguments, ExitCode::data, "damaged/train.h5");
}

TEST_F(TrainCommand, DataInShardsIsTheSameData) {
  std::string text;
  while (text.size() < 400'000) text += read_text(at("corpus/pretraining.txt"));
  write_text(at("long.txt"), text);
  for (const std::string size : {"1", "64"}) {
    must({"prepare", "--corpus", "text", at("long.txt"), "--base", at("base_a"), "--context", "64",
          "--shard-size", size, "--output", at("shards of " + size)});
    std::vector<std::string> arguments = training("from shards of " + size);
    arguments[4] = at("shards of " + size);
    must(arguments);
  }
  const std::string first = at("shards of 1/train-00001-of-00003.h5"),
                    third = at("shards of 1/train-00003-of-00003.h5");
  ASSERT_TRUE(std::filesystem::exists(third));
  EXPECT_TRUE(std::filesystem::exists(at("shards of 64/train.h5")));
  for (const std::string file : {"adapter_model.safetensors", "run.json"})
    EXPECT_EQ(read_text(at("from shards of 1/" + file)), read_text(at("from shards of 64/" + file)));
  const auto table = [&](const std::string& size) {
    const Outcome outcome = run_chorus({"inspect", at("shards of " + size)});
    return outcome.out.substr(outcome.out.rfind(".h5\n"));
  };
  EXPECT_EQ(table("1"), table("64"));
  must({"plan", "--base", at("base_a"), "--data", at("shards of 1"), "--machine", "a100-80"});
  must({"verify", "--data", at("shards of 1")});
  std::filesystem::remove(first);
  std::vector<std::string> arguments = training("from missing");
  arguments[4] = at("shards of 1");
  expect_refusal(arguments, ExitCode::data, first + ": this shard is missing: 2 of 3 are there");
}

TEST_F(TrainCommand, StoppedByMaxTimeItGoesOnToTheSameAdapter) {
  must(training("straight", {"--logging-steps", "1"}));
  Outcome stopped = run_chorus(training("stopped", {"--logging-steps", "1", "--max-time", "0.000001"}));
  EXPECT_EQ(stopped.exit_code, static_cast<int>(ExitCode::preempted)) << stopped.err;
  EXPECT_FALSE(std::filesystem::exists(at("stopped/adapter_model.safetensors")));
  must(training("stopped", {"--logging-steps", "1", "--resume", "auto"}));
  EXPECT_EQ(read_text(at("straight/adapter_model.safetensors")),
            read_text(at("stopped/adapter_model.safetensors")));
  const auto losses = [](const std::string& log) {
    std::vector<double> losses;
    std::istringstream lines(log);
    for (std::string line; std::getline(lines, line);)
      losses.push_back(nlohmann::json::parse(line).at("loss"));
    return losses;
  };
  EXPECT_EQ(losses(read_text(at("straight/trainer_log.jsonl"))),
            losses(read_text(at("stopped/trainer_log.jsonl"))));
}

TEST_F(TrainCommand, ADeadRankEndsTheJob) {
  std::string command =
      "if [ \"$OMPI_COMM_WORLD_RANK\" = 1 ]; then exec timeout -s KILL 1 \"$@\"; else exec \"$@\"; fi";
  std::vector<std::string> launcher = mpirun(2);
  launcher.insert(launcher.begin(), {"timeout", "60"});
  launcher.insert(launcher.end(), {"sh", "-c", command, "sh"});
  const Outcome outcome = run_chorus(training("dead", {"--max-steps", "100000"}), launcher);
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_NE(outcome.exit_code, 124) << "the other rank went on waiting";
}

TEST_F(TrainCommand, GreedyAnswersAreMatchedAndMissesCounted) {
  must(training("greedy"));
  const Outcome outcome = run_chorus({"evaluate", "--base", at("base_a"), "--adapter", at("greedy"), "--data",
                                      at("data"), "--decode", "greedy", "--output", at("greedy scores")});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto results = nlohmann::json::parse(read_text(at("greedy scores/eval_results.json")));
  EXPECT_GT(results.at("utterances").get<int>(), 0);
  EXPECT_THAT(outcome.out, HasSubstr("answers held no label"));
  EXPECT_THAT(read_text(at("greedy scores/predictions.jsonl")), HasSubstr("\"answer\""));
  // Every answer gets a label by InstructERC's rule, and by words only those that hold or nearly spell one.
  const std::string by_nearest = run_successfully({"evaluate", "--base", at("base_a"), "--data", at("data"),
                                                   "--decode", "greedy", "--match", "instructerc"});
  EXPECT_THAT(by_nearest, HasSubstr("answers held no label; 0 of them are wrong for every label"));
}

TEST_F(TrainCommand, EvaluateWantsCandidates) {
  expect_refusal({"evaluate", "--base", at("base_a"), "--data", at("data"), "--split", "train"},
                 ExitCode::configuration, "no candidate answers");
}

TEST_F(TrainCommand, GenerateRefusesAPromptWithoutRoom) {
  std::string prompt;
  for (int i = 0; i < 600; ++i) prompt += "word ";
  expect_refusal({"generate", "--base", at("base_a"), prompt}, ExitCode::data,
                 "leaves no room for an answer");
}

}  // namespace
}  // namespace chorus
