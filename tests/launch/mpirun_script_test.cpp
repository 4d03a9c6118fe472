// launch/mpirun.sh: what it refuses, and trainings over two hosts, which the test makes as network namespaces.

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;

const std::string root = CHORUS_SOURCE_DIR;
const std::string script = root + "/launch/mpirun.sh";

TEST(MpirunScript, RefusesWhatCannotWork) {
  const TemporaryFolder folder;
  write_text(folder / "twice", "h1\nh2 # the second\nh1\n");
  const auto said = [&](const std::string& arguments) {
    EXPECT_NE(std::system((script + " " + arguments + " >/dev/null 2>" + folder / "err").c_str()), 0);
    return read_text(folder / "err");
  };
  EXPECT_THAT(said("--hosts " + folder / "twice" + " -- true"), HasSubstr("names a machine twice"));
  EXPECT_THAT(said("--hosts " + folder / "none" + " -- true"), HasSubstr("cannot be read"));
  EXPECT_THAT(said("--ranks-per-node 0 -- true"), HasSubstr("is no number of ranks"));
  EXPECT_THAT(said("--ranks-per-nod 2 -- true"), HasSubstr("unknown option"));
  EXPECT_THAT(said(""), HasSubstr("what is to be started?"));
}

TEST(MpirunScript, StartsMoreRanksThanCores) {
  const TemporaryFolder folder;
  const auto ranks = static_cast<std::ptrdiff_t>(std::thread::hardware_concurrency()) + 2;
  const std::string command = "env -u OMPI_ALLOW_RUN_AS_ROOT " + script + " --ranks-per-node " +
                              std::to_string(ranks) + " -- echo a rank >" + folder / "out" + " 2>" +
                              folder / "err";
  ASSERT_EQ(std::system(command.c_str()), 0) << read_text(folder / "err");
  EXPECT_EQ(std::ranges::count(read_text(folder / "out"), '\n'), ranks);
}

class MpirunOnTwoHosts : public testing::Test {
 protected:
  void SetUp() override {
    const char* given = std::getenv("CHORUS_HOSTS_SCRIPT");
    const std::string beside = std::filesystem::path(root).parent_path();
    const std::string hosts = given != nullptr ? given : beside + "/shared/slurm/netns_hosts.sh";
    if (!std::filesystem::exists(hosts)) GTEST_SKIP() << "NOT TESTED: no script makes hosts: " << hosts;
    own_ = "export NH_DIR=" + folder / "h" + " NH_PREFIX=cm NH_NET=10.78.0; ";
    hosts_ = hosts;
    if (shell(hosts_ + " up 2") != 0) GTEST_SKIP() << "NOT TESTED: no hosts: " << read_text(folder / "said");
    write_text(folder / "hosts", "h1\nh2\n");
  }
  void TearDown() override {
    if (!hosts_.empty()) shell(hosts_ + " down");
  }
  int shell(const std::string& command) {
    write_text(folder / "command", own_ + "eval \"$(" + hosts_ + " env)\"\n" + command + "\n");
    const int status = std::system(("bash " + folder / "command" + " >" + folder / "said" + " 2>&1").c_str());
    return status;
  }
  std::string launch() const { return "timeout 60 " + script + " --hosts " + folder / "hosts" + " "; }

  TemporaryFolder folder;
  std::string own_, hosts_;
};

TEST_F(MpirunOnTwoHosts, RanksTrainTogetherAsOnOneMachine) {
  write_small_data(folder, 8, 2, 2);
  const std::string training = std::string(CHORUS_PROGRAM) +
                               " train --threads 1 --lora-rank 2 --max-steps 6 --base " + folder / "base" +
                               " --data " + folder / "data" + " --tensor-parallel 2 --output ";
  ASSERT_EQ(shell(launch() + "--logs " + folder / "logs" + " -- " + training + folder / "two"), 0)
      << read_text(folder / "said");
  EXPECT_THAT(read_text(folder / "said"), HasSubstr("2 ranks = data 1 x tensor 2"));
  EXPECT_THAT(read_text(folder / "logs/1/rank.0/stdout"), HasSubstr("trained 6 steps"));
  ASSERT_EQ(shell("timeout 60 " + script + " --ranks-per-node 2 -- " + training + folder / "one"), 0)
      << read_text(folder / "said");
  const std::string adapter = read_text(folder / "two/adapter_model.safetensors");
  EXPECT_FALSE(adapter.empty());
  EXPECT_EQ(adapter, read_text(folder / "one/adapter_model.safetensors"));
}

TEST_F(MpirunOnTwoHosts, ALostHostEndsTheJobInSeconds) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_NE(shell("(sleep 3; " + hosts_ + " crash h2) & " + launch() + "-- sleep 50"), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
  EXPECT_THAT(read_text(folder / "said"), HasSubstr("lost communication"));
}

}  // namespace
}  // namespace chorus
