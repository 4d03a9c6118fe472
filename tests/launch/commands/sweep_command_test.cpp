// A sweep of a tiny base on a sample corpus, and jobs that run side by side.

#include <csignal>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "tests/launch/shared_folder.h"
#include "tests/launch/started_program.h"

namespace chorus {
namespace {

using testing::HasSubstr;
using testing::Not;

class SweepCommand : public SharedFolderTest<SweepCommand> {
 public:
  static void fill() { write_tiny_data(folder()); }

 protected:
  static Outcome run_sweep(const std::string& output, const std::string& vary,
                           const std::vector<std::string>& more = {}) {
    return run_chorus(joined({"sweep", "--base", at("base"), "--data", at("data"), "--output", at(output),
                              "--vary", vary, "--evaluate-options", "--threads 1"},
                             more));
  }
  static nlohmann::json result(const std::string& output) {
    return nlohmann::json::parse(read_text(at(output + "/sweep.json")));
  }
};

const std::string few_steps = "--max-steps 2 --threads 1";

TEST_F(SweepCommand, RunsAGridSideBySideAndScoresTheBestOnTest) {
  const std::vector<std::string> more{"--seeds", "1,2", "--jobs", "3", "--train-options", few_steps};
  const Outcome first = run_sweep("grid", "lora-rank=2,4; learning-rate=1e-3,1e-2", more);
  ASSERT_EQ(first.exit_code, 0) << first.out << first.err;
  EXPECT_THAT(first.out, HasSubstr("lora-rank \\ learning-rate"));
  EXPECT_THAT(first.out, HasSubstr("majority label"));
  const nlohmann::json json = result("grid");
  ASSERT_EQ(json["trials"].size(), 4U);
  EXPECT_EQ(json["trials"][0]["dev"].size(), 2U);
  EXPECT_EQ(json["trials"][0]["test_weighted_f1"].size(), 2U);
  EXPECT_FALSE(json["trials"][1].contains("test_weighted_f1")) << "only the best is scored on test";

  // A larger grid in the same folder keeps what is there.
  const Outcome second = run_sweep("grid", "lora-rank=2,4; learning-rate=1e-3,1e-2,3e-2", more);
  ASSERT_EQ(second.exit_code, 0) << second.out << second.err;
  EXPECT_THAT(second.out, HasSubstr("lora-rank=2,learning-rate=1e-3/seed-1 | done before"));
  EXPECT_EQ(result("grid")["trials"].size(), 6U);
  // Other options would make other results.
  const Outcome other =
      run_sweep("grid", "lora-rank=2,4; learning-rate=1e-3", {"--train-options", "--max-steps 3"});
  EXPECT_EQ(other.exit_code, static_cast<int>(ExitCode::configuration));
  EXPECT_THAT(other.err, HasSubstr("holds the result of another command"));
}

TEST_F(SweepCommand, KeepsFailuresAndReportsThem) {
  const Outcome outcome =
      run_sweep("failing", "lora-rank=2; tokens-per-microbatch=8,2048", {"--train-options", few_steps});
  EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::configuration)) << outcome.out;
  EXPECT_THAT(outcome.out, HasSubstr("does not fit into a micro-batch"));
  EXPECT_THAT(outcome.out, HasSubstr("1 trials failed"));
  const nlohmann::json json = result("failing");
  EXPECT_EQ(json["trials"][0]["values"]["tokens-per-microbatch"], "2048");
  EXPECT_EQ(json["trials"][1]["failed"], 1);
}

// What the last update leaves behind is seen by the scoring of dev alone; it must not be ranked.
TEST_F(SweepCommand, ATrialThatIsDestroyedFails) {
  const Outcome outcome = run_sweep("destroyed", "learning-rate=1e30,1e-4",
                                    {"--train-options", "--max-steps 1 --threads 1 --warmup-steps 0"});
  EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::data)) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("lower --learning-rate"));
  const nlohmann::json json = result("destroyed");
  EXPECT_EQ(json["trials"][0]["values"]["learning-rate"], "1e-4");
  EXPECT_TRUE(json["trials"][0].contains("test_weighted_f1"));
  EXPECT_EQ(json["trials"][1]["failed"], 1);
}

TEST_F(SweepCommand, HalvesTheTrialsFromRoundToRound) {
  const Outcome outcome =
      run_sweep("halving", "learning-rate=log:1e-4..1e-2",
                {"--trials", "4", "--rounds", "2", "--train-options", "--epochs 2 --threads 1"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("round 1 of 2: 4 trials of 1 epochs"));
  EXPECT_THAT(outcome.out, HasSubstr("round 2 of 2: 2 trials of 2 epochs"));
  std::vector<int> rounds;
  const nlohmann::json json = result("halving");
  for (const nlohmann::json& trial : json["trials"]) rounds.push_back(trial["round"]);
  EXPECT_EQ(rounds, (std::vector<int>{2, 2, 1, 1}));
}

// Nothing is learned at a rate of 0.
TEST_F(SweepCommand, TellsByWhatTrialsAreComparedAndWhichEndEarly) {
  const Outcome outcome = run_sweep("early", "learning-rate=0,1e-3",
                                    {"--train-options",
                                     "--max-steps 3 --eval-steps 1 --threads 1 --patience 1 "
                                     "--dev-metric macro-f1"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("stopped early at step 2 of 3"));
  EXPECT_THAT(outcome.out, HasSubstr("best first by the mean macro F1 on dev over 1 seeds, in percent"));
  EXPECT_THAT(outcome.out, HasSubstr("dev (macro F1)"));
  const nlohmann::json json = result("early");
  EXPECT_EQ(json["dev_metric"], "macro-f1");
  for (const nlohmann::json& trial : json["trials"]) {
    if (trial["values"]["learning-rate"] == "0") {
      EXPECT_EQ(trial.value("stopped_early", 0), 1);
    }
  }
}

TEST_F(SweepCommand, OneTrialCanRunAloneAndTheWholeFindsIt) {
  const std::vector<std::string> options{"--train-options", few_steps};
  const Outcome alone = run_sweep("array", "lora-rank=2,4", {"--train-options", few_steps, "--trial", "1"});
  ASSERT_EQ(alone.exit_code, 0) << alone.out << alone.err;
  EXPECT_THAT(alone.out, HasSubstr("job 1/1 | lora-rank=4/seed-1 | done"));
  const Outcome whole = run_sweep("array", "lora-rank=2,4", options);
  ASSERT_EQ(whole.exit_code, 0) << whole.out << whole.err;
  EXPECT_THAT(whole.out, HasSubstr("lora-rank=4/seed-1 | done before"));
  EXPECT_THAT(whole.out, Not(HasSubstr("lora-rank=2/seed-1 | done before")));
}

// A trial of a stopped sweep goes on from its checkpoint, and ends as if nothing had been.
TEST_F(SweepCommand, ASignalStopsItAndTheSameCommandGoesOn) {
  const std::vector<std::string> arguments{
      "sweep",       "--base",          at("base"),
      "--data",      at("data"),        "--output",
      at("stopped"), "--train-options", "--max-steps 60 --logging-steps 1 --threads 1",
      "--vary",      "lora-rank=2",     "--seeds",
      "1,2"};
  const std::string trial = at("stopped/runs/lora-rank=2/seed-1/train/");
  StartedProgram program(arguments);
  ASSERT_TRUE(
      becomes_true([&] { return read_text(trial + "log.txt").find("step 3/") != std::string::npos; }));
  program.signal(SIGTERM);
  const Outcome stopped = program.wait();
  EXPECT_EQ(stopped.exit_code, static_cast<int>(ExitCode::preempted)) << stopped.out << stopped.err;
  EXPECT_THAT(stopped.out, HasSubstr("lora-rank=2/seed-1 | stopped after"));
  EXPECT_THAT(stopped.out, HasSubstr("the same command goes on"));
  EXPECT_FALSE(std::filesystem::exists(at("stopped/runs/lora-rank=2/seed-2"))) << "nothing new is begun";
  const Outcome rest = run_chorus(arguments);
  EXPECT_EQ(rest.exit_code, 0) << rest.out << rest.err;
  EXPECT_THAT(read_text(trial + "log.txt"), HasSubstr("continues from "));
  run_successfully({"train", "--base", at("base"), "--data", at("data"), "--output", at("straight"),
                    "--max-steps", "60", "--threads", "1", "--lora-rank", "2", "--seed", "1"});
  EXPECT_EQ(read_text(trial + "output/adapter_model.safetensors"),
            read_text(at("straight/adapter_model.safetensors")));
}

TEST_F(SweepCommand, SurvivesThatItAndItsTrialAreKilled) {
  const std::vector<std::string> arguments{
      "sweep",      "--base",          at("base"),
      "--data",     at("data"),        "--output",
      at("killed"), "--train-options", "--max-steps 60 --logging-steps 1 --save-steps 2 --threads 1",
      "--vary",     "lora-rank=2"};
  const std::string trial = at("killed/runs/lora-rank=2/seed-1/train/");
  StartedProgram program(arguments);
  ASSERT_TRUE(
      becomes_true([&] { return read_text(trial + "log.txt").find("step 9/") != std::string::npos; }));
  program.signal(SIGKILL);
  EXPECT_EQ(program.wait().exit_code, -SIGKILL);
  const Outcome running = run_chorus(arguments);
  EXPECT_EQ(running.exit_code, static_cast<int>(ExitCode::configuration)) << running.out;
  EXPECT_THAT(running.err, HasSubstr("still runs as process "));
  kill(nlohmann::json::parse(read_text(trial + "job.json")).at("process").get<pid_t>(), SIGKILL);
  const Outcome rest = run_chorus(arguments);
  EXPECT_EQ(rest.exit_code, 0) << rest.out << rest.err;
  EXPECT_THAT(read_text(trial + "log.txt"), HasSubstr("continues from "));
}

TEST_F(SweepCommand, RefusesWhatDoesNotFitTogether) {
  const auto error = [](const Outcome& outcome) {
    EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::configuration));
    return outcome.err;
  };
  EXPECT_THAT(error(run_sweep("x", "lora-rank=2,4", {"--train-options", "--lora-rank 8"})),
              HasSubstr("both say what lora-rank is"));
  EXPECT_THAT(error(run_sweep("x", "dev-metric=loss,accuracy")),
              HasSubstr("trials are compared by one metric"));
  EXPECT_THAT(error(run_sweep("x", "seed=1,2")), HasSubstr("--vary and --seeds both say"));
  EXPECT_THAT(error(run_sweep("x", "lora-rank=2,4", {"--trial", "2"})),
              HasSubstr("--trial is 2 but there are 2"));
  EXPECT_THAT(error(run_sweep("x", "lora-rank=2,4", {"--train-options", "--eval-steps 0"})),
              HasSubstr("compared by their score on dev"));
  EXPECT_THAT(error(run_sweep("x", "learning-rate=1e-4..1e-3")), HasSubstr("a grid cannot cover the range"));
}

}  // namespace
}  // namespace chorus
