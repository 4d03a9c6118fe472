// What signals do to the commands, and how stopped ones go on.

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ops/base/error.h"
#include "tests/launch/shared_folder.h"
#include "tests/launch/started_program.h"

namespace chorus {
namespace {

using testing::HasSubstr;

constexpr int preempted = static_cast<int>(ExitCode::preempted);

// "KEY:\tvalue" of a file of /proc.
std::string value_of(const std::string& key, const std::filesystem::path& file) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(key + ":\t")) return line.substr(key.size() + 2);
  }
  return "";
}

std::uint64_t blocked_in(const std::filesystem::path& thread) {
  return std::stoull(value_of("SigBlk", thread / "status"), nullptr, 16);
}

// Bits as in /proc: all signals but those that tell a thread of what it does itself, those that nobody can block, and two
// that the C library keeps for itself.
std::uint64_t asynchronous_signals() {
  std::uint64_t mask = ~std::uint64_t{0};
  for (const int other : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPIPE, SIGXFSZ,
                          SIGTTIN, SIGTTOU, SIGKILL, SIGSTOP, 32, 33})
    mask &= ~(std::uint64_t{1} << (other - 1));
  return mask;
}

// Of the threads of a process, one waits for signals, and all the others, `least` or more, never see one.
void expect_one_thread_takes_signals(pid_t process, std::size_t least) {
  std::size_t waiting = 0, others = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/task")) {
    const std::string name = value_of("Name", task.path() / "status");
    if (name == "signals") {
      ++waiting;
      EXPECT_EQ(blocked_in(task.path()), 0U);
    } else {
      ++others;
      EXPECT_EQ(blocked_in(task.path()) & asynchronous_signals(), asynchronous_signals())
          << name << " " << task.path();
    }
  }
  EXPECT_EQ(waiting, 1U);
  EXPECT_GE(others, least);
}

class Signals : public SharedFolderTest<Signals> {
 public:
  static void fill() { write_small_data(folder(), 12, 12, 12); }

 protected:
  // `eval_steps` 1: nearly all of the time goes into scoring dev.
  static std::vector<std::string> training(const std::string& output, int eval_steps, int max_steps) {
    return small_training(
        output, {"--lora-dropout", "0.1", "--batch-size", "8", "--max-steps", std::to_string(max_steps),
                 "--eval-steps", std::to_string(eval_steps), "--tokens-per-microbatch", "512",
                 "--logging-steps", "1", "--resume", "auto"});
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
};

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

TEST_F(Signals, AreTakenByAThreadThatComputesNothing) {
  std::vector<std::string> arguments = training("threads", 0, 100000);
  *(std::ranges::find(arguments, "--threads") + 1) = "2";
  StartedProgram program(arguments);
  ASSERT_TRUE(program.says("step 3/")) << program.wait().err;
  expect_one_thread_takes_signals(program.process(), 2);
  program.signal(SIGTERM);
  EXPECT_EQ(program.wait().exit_code, preempted);
}

// What MPI starts in a rank computes nothing, but takes signals from nobody either.
TEST_F(Signals, AreTakenByOneThreadOfEachRank) {
  std::vector<std::string> launcher = mpirun(2);
  launcher.insert(launcher.end(),
                  {"sh", "-c", "echo $$ > " + at("rank.$OMPI_COMM_WORLD_RANK") + R"(; exec "$@")", "sh"});
  StartedProgram program(training("rank threads", 0, 100000), launcher);
  ASSERT_TRUE(program.says("step 3/")) << program.wait().err;
  for (const char* rank : {"rank.0", "rank.1"})
    expect_one_thread_takes_signals(std::stoi(read_text(at(rank))), 2);
  program.signal(SIGUSR2);
  EXPECT_EQ(program.wait().exit_code, preempted);
}

// Jobs do not inherit what their parent blocks: a launcher that knows nothing of it must be stoppable. The shell reads
// the mask itself, since it blocks all signals while it starts a program.
TEST_F(Signals, AreNotBlockedInStartedJobs) {
  write_text(at("launcher.sh"), "while read -r line; do echo \"$line\"; done < /proc/$$/status > " +
                                    at("mask") + R"(; exec "$@")");
  const Outcome outcome = run_chorus({"sweep", "--base", at("base"), "--data", at("data"), "--output",
                                      at("sweep"), "--vary", "lora-rank=2", "--train-options",
                                      "--max-steps 1 --threads 1", "--launcher", "sh " + at("launcher.sh")});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  EXPECT_EQ(std::stoull(value_of("SigBlk", at("mask")), nullptr, 16), 0U);
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
    EXPECT_FALSE(std::filesystem::exists(at("scores"))) << "so that the same command works again";
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

TEST_F(Signals, ThatEndOrHoldAnyProgramStillDo) {
  StartedProgram program(training("held", 0, 100000));
  ASSERT_TRUE(program.says("step 1/"));
  const std::string status = "/proc/" + std::to_string(program.process()) + "/status";
  program.signal(SIGTSTP);
  EXPECT_TRUE(becomes_true([&] { return value_of("State", status).starts_with("T"); }));
  program.signal(SIGCONT);
  EXPECT_TRUE(becomes_true([&] { return !value_of("State", status).starts_with("T"); }));
  program.signal(SIGINT);
  EXPECT_EQ(program.wait().exit_code, -SIGINT);
}

TEST_F(Signals, ALimitOnTheSizeOfFilesIsToldAndNoSignal) {
  const Outcome outcome =
      run_chorus(training("limited", 0, 1), {"sh", "-c", R"((ulimit -f 1; "$@" 2>&1; echo $?) | cat)", "sh"});
  EXPECT_THAT(outcome.out, HasSubstr("chorus train: error: cannot write " + at("limited")));
  EXPECT_THAT(outcome.out, HasSubstr("File too large"));
  EXPECT_TRUE(outcome.out.ends_with("\n3\n")) << outcome.out;
}

TEST_F(Signals, AReaderThatLeavesEndsTheWriter) {
  const std::string line = "{ sleep 0.3; \"$@\"; echo $? > '" + at("status") + "'; } | true; sleep 1";
  run_chorus({"inspect", at("data")}, {"sh", "-c", line, "sh"});
  EXPECT_EQ(read_text(at("status")), std::to_string(128 + SIGPIPE) + "\n");
}

// What a training makes is a folder, whoever reads what it says.
TEST_F(Signals, AReaderThatLeavesDoesNotEndATraining) {
  const std::string line = "{ sleep 0.3; \"$@\" 2> '" + at("err") + "'; echo $? > '" + at("status") +
                           "'; } | true; until [ -s '" + at("status") + "' ]; do sleep 0.1; done";
  run_chorus(training("unread", 0, 3), {"sh", "-c", line, "sh"});
  EXPECT_EQ(read_text(at("status")), std::to_string(static_cast<int>(ExitCode::data)) + "\n");
  EXPECT_THAT(read_text(at("err")), HasSubstr("the standard output could not be written to"));
  EXPECT_TRUE(std::filesystem::exists(at("unread/adapter_model.safetensors")));
}

// Behind a terminal that is gone nothing can be written either.
TEST_F(Signals, ATerminalThatIsClosedStopsATrainingInOrder) {
  run_successfully(training("terminal straight", 0, 60));
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  ASSERT_TRUE(grantpt(terminal) == 0 && unlockpt(terminal) == 0);
  const std::string name = ptsname(terminal);
  std::vector<std::string> words = training("terminal", 0, 60);
  words.insert(words.begin(), CHORUS_PROGRAM);
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const pid_t process = fork();
  if (process == 0) {
    close(terminal);
    setsid();
    const int file = open(name.c_str(), O_RDWR);
    ioctl(file, TIOCSCTTY, 0);
    for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(file, descriptor);
    close(file);
    execv(pointers[0], pointers.data());
    _exit(127);
  }
  std::string said;
  std::array<char, 4096> piece{};
  while (said.find("step 3/") == std::string::npos) {
    const ssize_t bytes = read(terminal, piece.data(), piece.size());
    ASSERT_GT(bytes, 0) << said;
    said.append(piece.data(), static_cast<std::size_t>(bytes));
  }
  close(terminal);
  int status = 0;
  ASSERT_EQ(waitpid(process, &status, 0), process);
  ASSERT_TRUE(WIFEXITED(status)) << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), preempted);
  EXPECT_THAT(run_successfully(training("terminal", 0, 60)), HasSubstr("continues from "));
  EXPECT_EQ(adapter("terminal"), adapter("terminal straight"));
}

TEST_F(Signals, AClosedTerminalDoesNotConcernWhatNohupStarted) {
  StartedProgram program(training("nohup", 0, 30), {"nohup"});
  ASSERT_TRUE(program.says("step 1/"));
  program.signal(SIGHUP);
  EXPECT_EQ(program.wait().exit_code, 0);
}

// 25 steps and a scoring while the timer of a foreign library runs. Where the frame of its handler can get into the
// heap, glibc's checks of the heap end the process.
class ForeignTimer : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    write_small_data(folder_, 24, 2, 24);
    run_successfully({"init", "--tokenizer", folder_ / "a.model", "--hidden-size", "128", "--layers", "3",
                      "--output", folder_ / "wide"});
  }
  Outcome run(std::vector<std::string> arguments, const std::string& output,
              const std::vector<std::string>& launcher) {
    for (const auto& [option, value] :
         {std::pair{"--base", folder_ / "wide"}, std::pair{"--data", folder_ / "data"},
          std::pair{"--precision", GetParam()}, std::pair{"--threads", std::string("2")},
          std::pair{"--output", folder_ / output}})
      arguments.insert(arguments.end(), {option, value});
    return run_chorus(arguments, launcher);
  }
  // What the command writes to `file` is the same with and without the timer.
  void expect_same(const std::vector<std::string>& arguments, const std::string& file) {
    const Outcome calm = run(arguments, "calm " + arguments[0], {});
    ASSERT_EQ(calm.exit_code, 0) << calm.err;
    const Outcome disturbed = run(arguments, "disturbed " + arguments[0],
                                  {"env", "MALLOC_CHECK_=3", "MALLOC_PERTURB_=165",
                                   "LD_PRELOAD=libc_malloc_debug.so.0 " CHORUS_INTERVAL_TIMER});
    EXPECT_EQ(disturbed.exit_code, 0) << disturbed.err;
    EXPECT_THAT(disturbed.err, testing::Not(HasSubstr("cannot be preloaded"))) << "the heap was not checked";
    EXPECT_THAT(disturbed.err, testing::ContainsRegex("the timer came [0-9]{2,} times"));
    EXPECT_TRUE(read_text(folder_ / ("calm " + arguments[0] + "/" + file)) ==
                read_text(folder_ / ("disturbed " + arguments[0] + "/" + file)));
  }

  TemporaryFolder folder_;
};

TEST_P(ForeignTimer, ChangesNothing) {
  expect_same(
      {"train", "--max-steps", "25", "--batch-size", "8", "--lora-targets", "all", "--eval-steps", "0"},
      "adapter_model.safetensors");
  expect_same({"evaluate"}, "predictions.jsonl");
}

INSTANTIATE_TEST_SUITE_P(, ForeignTimer, testing::Values("f32", "bf16"),
                         [](const auto& precision) { return precision.param; });

}  // namespace
}  // namespace chorus
