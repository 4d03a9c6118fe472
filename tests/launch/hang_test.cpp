// A rank that stands still, as on a machine whose disk or network is gone.

#include <csignal>
#include <map>
#include <sstream>
#include <string_view>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/launch/shared_folder.h"
#include "tests/launch/started_program.h"

namespace chorus {
namespace {

using testing::HasSubstr;
using testing::Not;

class Hang : public SharedFolderTest<Hang> {
 public:
  static void fill() { write_small_data(folder(), 12, 3, 12); }

 protected:
  void SetUp() override { skip_without_mpirun(); }

  static std::vector<std::string> training(const std::string& output, const std::string& hang_limit) {
    return small_training(output, {"--max-steps", "1000000", "--eval-steps", "0", "--logging-steps", "1",
                                   "--hang-limit", hang_limit});
  }
  // The processes that a launcher has started, by their ranks.
  static std::map<int, pid_t> ranks_of(pid_t launcher) {
    std::map<int, pid_t> ranks;
    const std::string own = std::to_string(launcher);
    std::istringstream children(read_text("/proc/" + own + "/task/" + own + "/children"));
    for (pid_t child = 0; children >> child;) {
      const std::string environment = read_text("/proc/" + std::to_string(child) + "/environ");
      constexpr std::string_view name = "OMPI_COMM_WORLD_RANK=";
      const std::size_t found = environment.find(name);
      if (found != std::string::npos) ranks[std::stoi(environment.substr(found + name.size()))] = child;
    }
    return ranks;
  }
};

TEST_F(Hang, ARankThatStandsStillIsNamedAndEndsTheRun) {
  for (const int missing : {0, 1}) {
    StartedProgram program(training("still " + std::to_string(missing), "6"), mpirun(2));
    ASSERT_TRUE(program.says("step 3/")) << program.wait().err;
    const std::map<int, pid_t> ranks = ranks_of(program.process());
    ASSERT_EQ(ranks.size(), 2U);
    kill(ranks.at(missing), SIGSTOP);
    const Outcome outcome = program.wait();
    EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::hang)) << outcome.err;
    EXPECT_THAT(outcome.err,
                testing::ContainsRegex("chorus train: no rank has gone on for [0-9]+ s: rank " +
                                       std::to_string(missing) +
                                       " (\\(host [^)]*\\) has not answered for|has not been heard of)"));
    EXPECT_THAT(outcome.err, HasSubstr(" waits in "));
    EXPECT_THAT(outcome.err, HasSubstr("(training, step "));
    EXPECT_THAT(outcome.err, HasSubstr("; ends with exit code 5 (--hang-limit 6)"));
  }
}

TEST_F(Hang, ARankThatGoesOnAgainHarmsNothing) {
  StartedProgram program(training("again", "20"), mpirun(2));
  ASSERT_TRUE(program.says("step 3/")) << program.wait().err;
  const pid_t rank = ranks_of(program.process()).at(1);
  kill(rank, SIGSTOP);
  std::this_thread::sleep_for(std::chrono::seconds(12));
  kill(rank, SIGCONT);
  std::this_thread::sleep_for(std::chrono::seconds(2));
  program.signal(SIGUSR2);
  const Outcome outcome = program.wait();
  EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::preempted)) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("ends in 10 s (--hang-limit 20)"));
  EXPECT_THAT(outcome.err, HasSubstr("chorus train: the ranks go on again"));
  EXPECT_THAT(outcome.err, Not(HasSubstr("exit code 5")));
}

}  // namespace
}  // namespace chorus
