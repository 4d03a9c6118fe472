// What signals do to the commands, and how stopped ones go on.

#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/error.h"
#include "tests/launch/started_program.h"

namespace chorus {
namespace {

using testing::HasSubstr;

constexpr int preempted = static_cast<int>(ExitCode::preempted);

class Signals : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    write_small_data(*folder_, 12, 12, 12);
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string at(const std::string& name) { return *folder_ / name; }

  // `eval_steps` 1: nearly all of the time goes into scoring dev.
  static std::vector<std::string> training(const std::string& output, int eval_steps, int max_steps) {
    return {"train",
            "--base",
            at("base"),
            "--data",
            at("data"),
            "--output",
            at(output),
            "--lora-rank",
            "2",
            "--lora-dropout",
            "0.1",
            "--batch-size",
            "8",
            "--threads",
            "1",
            "--max-steps",
            std::to_string(max_steps),
            "--eval-steps",
            std::to_string(eval_steps),
            "--tokens-per-microbatch",
            "512",
            "--logging-steps",
            "1",
            "--resume",
            "auto"};
  }
  static std::string adapter(const std::string& output) {
    return read_text(at(output) + "/adapter_model.safetensors");
  }

  // Stops a training once it has said `when`, lets it go on, and compares it with one that nobody stopped.
  static void expect_same_after(int signal, const std::string& when, int eval_steps, int max_steps,
                                const std::string& name, const std::vector<std::string>& launcher = {}) {
    run_successfully(training(name + " straight", eval_steps, max_steps), launcher);
    StartedProgram program(training(name, eval_steps, max_steps), launcher);
    ASSERT_TRUE(program.says(when)) << program.wait().err;
    program.signal(signal);
    const Outcome stopped = program.wait();
    EXPECT_EQ(stopped.exit_code, preempted) << stopped.out << stopped.err;
    EXPECT_THAT(stopped.out, HasSubstr("stopped by a signal after step "));
    EXPECT_THAT(stopped.out, HasSubstr("go on with --resume auto"));
    if (eval_steps == 1) {
      EXPECT_THAT(stopped.out, HasSubstr("before dev was scored"));
    }
    EXPECT_FALSE(std::filesystem::exists(at(name) + "/adapter_model.safetensors"));
    const std::string rest = run_successfully(training(name, eval_steps, max_steps), launcher);
    EXPECT_THAT(rest, HasSubstr("continues from "));
    EXPECT_EQ(adapter(name), adapter(name + " straight"));
  }

 private:
  static TemporaryFolder* folder_;
};
TemporaryFolder* Signals::folder_ = nullptr;

TEST_F(Signals, StopATrainingOfOneRank) {
  expect_same_after(SIGUSR1, "step 3/", 0, 60, "one rank");
  expect_same_after(SIGTERM, "step 1/", 1, 2, "one rank, in evaluation");
}

// mpirun passes USR1 and USR2 on to its ranks; TERM ends them without a warning in time.
TEST_F(Signals, StopATrainingOfTwoRanks) {
  expect_same_after(SIGUSR2, "step 3/", 0, 60, "two ranks", mpirun(2));
  expect_same_after(SIGUSR2, "step 1/", 1, 2, "two ranks, in evaluation", mpirun(2));
}

TEST_F(Signals, StopATrainingBeforeItsFirstStep) {
  run_successfully(training("straight", 0, 5));
  StartedProgram program(training("early", 0, 5));
  ASSERT_TRUE(program.handles(SIGUSR2));
  program.signal(SIGUSR2);
  const Outcome stopped = program.wait();
  EXPECT_EQ(stopped.exit_code, preempted) << stopped.err;
  EXPECT_THAT(stopped.out, HasSubstr("after step 0"));
  run_successfully(training("early", 0, 5));
  EXPECT_EQ(adapter("early"), adapter("straight"));
}

// A rank that cannot go on, since the other one is held, is ended by a second request; what comes twice within two
// seconds is one.
TEST_F(Signals, ASecondOneEndsAtOnceAndLeavesTheCheckpointWhole) {
  const std::vector<std::string> held{
      "sh", "-c", "echo $$ > " + at("pid.$OMPI_COMM_WORLD_RANK") + R"(; exec "$@")", "sh"};
  std::vector<std::string> launcher = mpirun(2);
  launcher.insert(launcher.end(), held.begin(), held.end());
  std::vector<std::string> arguments = training("twice", 0, 100000);
  arguments.insert(arguments.end(), {"--save-steps", "5", "--save-total-limit", "1"});
  StartedProgram program(arguments, launcher);
  ASSERT_TRUE(program.says("step 12/"));
  const pid_t waiting = std::stoi(read_text(at("pid.0"))), stopped = std::stoi(read_text(at("pid.1")));
  kill(stopped, SIGSTOP);
  kill(waiting, SIGUSR2);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  kill(waiting, SIGUSR1);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(kill(waiting, 0), 0) << "it waits for the other rank";
  std::this_thread::sleep_for(std::chrono::milliseconds(1800));
  kill(waiting, SIGUSR2);
  const Outcome outcome = program.wait();
  EXPECT_EQ(outcome.exit_code, 128 + SIGUSR2);
  EXPECT_THAT(outcome.err, HasSubstr("a second signal"));
  arguments.insert(arguments.end(), {"--max-time", "0.001"});
  const Outcome resumed = run_chorus(arguments, mpirun(2));
  EXPECT_EQ(resumed.exit_code, preempted) << resumed.err;
  EXPECT_THAT(resumed.out, HasSubstr("continues from "));
}

TEST_F(Signals, StopAnEvaluation) {
  for (const std::vector<std::string>& launcher : {std::vector<std::string>{}, mpirun(2)}) {
    StartedProgram program({"evaluate", "--base", at("base"), "--data", at("data"), "--output", at("scores"),
                            "--tokens-per-microbatch", "512", "--threads", "1"},
                           launcher);
    ASSERT_TRUE(program.says("each scored once"));
    program.signal(SIGUSR2);
    const Outcome stopped = program.wait();
    EXPECT_EQ(stopped.exit_code, preempted) << stopped.err;
    EXPECT_THAT(stopped.err, HasSubstr("chorus evaluate: stopped by a signal"));
    EXPECT_TRUE(std::filesystem::is_empty(at("scores"))) << "so that the same command works again";
  }
}

TEST_F(Signals, StopPreparationBeforeAnythingIsWritten) {
  StartedProgram program({"prepare", at("corpus"), "--base", at("base"), "--output", at("stopped data")});
  ASSERT_TRUE(program.handles(SIGTERM));
  program.signal(SIGTERM);
  const Outcome stopped = program.wait();
  EXPECT_EQ(stopped.exit_code, preempted) << stopped.err;
  EXPECT_THAT(stopped.err, HasSubstr("chorus prepare: stopped by a signal; nothing was written"));
  EXPECT_FALSE(std::filesystem::exists(at("stopped data")));
}

// Commands that have nothing to save end as any program does.
TEST_F(Signals, EndOtherCommandsAtOnce) {
  StartedProgram program({"bench", "--device", "cpu"});
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  program.signal(SIGTERM);
  EXPECT_EQ(program.wait().exit_code, -SIGTERM);
}

}  // namespace
}  // namespace chorus
