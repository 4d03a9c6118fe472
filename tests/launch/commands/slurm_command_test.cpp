// The batch scripts of chorus slurm: as text, and on a Slurm of two hosts that the test starts itself.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/launch/started_program.h"

namespace chorus {
namespace {

using testing::HasSubstr;
using testing::Not;

class SlurmScript : public testing::Test {
 protected:
  SlurmScript() {
    for (const char* name : {"a.ini", "b.ini"}) write_text(folder / name, "base = /models/a\n");
  }
  std::string script(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "slurm");
    arguments.insert(arguments.end(), {"--script", "-", "--check", "off"});
    const std::string text = run_successfully(arguments);
    write_text(folder / "job.sbatch", text);
    EXPECT_EQ(std::system(("bash -n '" + folder / "job.sbatch" + "'").c_str()), 0);
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("#SBATCH")) {
        EXPECT_THAT(line, Not(HasSubstr("$"))) << "Slurm expands nothing";
      }
    }
    return text;
  }
  void expect_refusal(std::vector<std::string> arguments, const std::string& part) {
    arguments.insert(arguments.begin(), "slurm");
    const Outcome outcome = run_chorus(arguments);
    EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::configuration));
    EXPECT_THAT(outcome.err, HasSubstr(part));
  }
  TemporaryFolder folder;
};

TEST_F(SlurmScript, AsksForWhatItWasTold) {
  const std::string text =
      script({"--train", folder / "a.ini", "--nodes", "2", "--gpus-per-node", "4", "--time", "12:00:00",
              "--partition", "gpu", "--account", "lab", "--memory", "200G", "--cpus-per-rank", "8", "--chain",
              "--setup", "module load openmpi"});
  for (const char* line :
       {"--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "--time=12:00:00", "--partition=gpu",
        "--account=lab", "--mem=200G", "--cpus-per-task=8", "--dependency=singleton", "--requeue",
        "--open-mode=append", "--signal=B:USR1@120", "--output=%x-%j.log"})
    EXPECT_THAT(text, HasSubstr(std::string("\n#SBATCH ") + line + "\n"));
  EXPECT_THAT(text, HasSubstr("srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task=8 "));
  EXPECT_THAT(text, HasSubstr("\nmodule load openmpi\n"));
  EXPECT_THAT(text, HasSubstr("--resume auto"));
}

TEST_F(SlurmScript, AsksForWhatClustersDemand) {
  const std::string text =
      script({"--train", folder / "a.ini", "--gpus-per-node", "2", "--gpu-type", "a100", "--gres",
              "tmpdisk:100", "--qos", "long", "--constraint", "a100&ib", "--mail-type", "END,FAIL",
              "--mail-user", "me@lab.org", "--sbatch", "--exclusive; --nodelist=h1,h2;"});
  for (const char* line :
       {"--gpus-per-node=a100:2", "--gres=tmpdisk:100", "--qos=long", "--constraint=a100&ib",
        "--mail-type=END,FAIL", "--mail-user=me@lab.org", "--exclusive", "--nodelist=h1,h2"})
    EXPECT_THAT(text, HasSubstr(std::string("\n#SBATCH ") + line + "\n"));
  EXPECT_LT(text.find("--nodelist"), text.find("\n\n"))
      << "Slurm reads no line of it after the first command";
}

TEST_F(SlurmScript, SweepsAreArrays) {
  const std::string seeds = script({"--train", folder / "a.ini", "--seeds", "1,2,3", "--output", "runs",
                                    "--at-once", "2", "--launcher", "mpirun"});
  EXPECT_THAT(seeds, HasSubstr("\n#SBATCH --array=0-2%2\n"));
  EXPECT_THAT(seeds, HasSubstr("seeds=(1 2 3)"));
  EXPECT_THAT(seeds, HasSubstr("--output runs/seed-\"${seeds[SLURM_ARRAY_TASK_ID]}\""));
  EXPECT_THAT(seeds, HasSubstr("run=(mpirun --bind-to none "));
  write_tiny_data(folder);
  write_text(folder / "sweep.ini", "base = " + folder / "base" + "\ndata = " + folder / "data" +
                                       "\noutput = " + folder / "sweep" + "\nvary = lora-rank=2,4,8\n");
  const std::string sweep = script({"--sweep", folder / "sweep.ini"});
  EXPECT_THAT(sweep, Not(HasSubstr("--array"))) << "the line that submits it says so";
  EXPECT_THAT(sweep, HasSubstr("--launcher \"srun --mpi=pmix --kill-on-bad-exit=1\""));
  EXPECT_THAT(sweep, HasSubstr("run+=(--trial \"$SLURM_ARRAY_TASK_ID\")"));
  const std::string said = run_successfully(
      {"slurm", "--sweep", folder / "sweep.ini", "--script", folder / "s.sbatch", "--at-once", "2"});
  EXPECT_THAT(said, HasSubstr("--array=0-2%2 "));
  const std::string files = script({"--train", folder / "a.ini" + "," + folder / "b.ini"});
  EXPECT_THAT(files, HasSubstr("\n#SBATCH --array=0-1\n"));
  EXPECT_THAT(files, HasSubstr("train \"${configurations[SLURM_ARRAY_TASK_ID]}\" --resume auto"));
}

TEST_F(SlurmScript, TheLineThatSubmitsItCanBePasted) {
  write_tiny_data(folder);
  std::filesystem::create_directory(folder / "my runs");
  write_text(folder / "my runs/sweep.ini", "base = " + folder / "base" + "\ndata = " + folder / "data" +
                                               "\noutput = " + folder / "sweep" + "\nvary = lora-rank=2,4\n");
  const auto last_line = [&](const std::string& kind, const std::string& configuration) {
    const std::string script = folder / ("my runs/it's " + kind + ".sbatch");
    const std::string said = run_successfully(
        {"slurm", "--" + kind, folder / configuration, "--script", script, "--check", "off"});
    write_text(folder / "paste.sh", "sbatch() { printf '<%s>' \"$@\" >> \"$said\"; echo 7; }\n" +
                                        said.substr(said.find("\nsbatch ") + 1));
    EXPECT_EQ(std::system(("said='" + folder / kind + "' bash '" + folder / "paste.sh' > /dev/null").c_str()),
              0);
    return std::pair{read_text(folder / kind), script};
  };
  const auto [train, train_script] = last_line("train", "a.ini");
  EXPECT_EQ(train, "<" + train_script + ">");
  const auto [sweep, sweep_script] = last_line("sweep", "my runs/sweep.ini");
  EXPECT_EQ(sweep,
            "<--parsable><--array=0-1><" + sweep_script + "><--dependency=afterany:7><" + sweep_script + ">");
}

TEST_F(SlurmScript, WhatSlurmWouldMisreadIsRefused) {
  const std::string a = folder / "a.ini", job = folder / "new.sbatch";
  expect_refusal({"--train", a, "--script", job, "--log", "$HOME/log"},
                 "no room for blanks, quotes or variables");
  expect_refusal({"--train", a, "--script", job, "--seeds", "1,2"}, "--seeds needs --output");
  expect_refusal({"--train", a, "--script", job, "--sbatch", "--time=1"},
                 "--time is written by chorus slurm itself");
  expect_refusal({"--train", a, "--script", job, "--sbatch", "-w h1"}, "no long option of sbatch");
  expect_refusal({"--train", a, "--script", job, "--sbatch", "--comment=$HOME"}, "no room for quotes");
  expect_refusal({"--train", a, "--script", job, "--gpu-type", "a100"}, "goes with --gpus-per-node");
  expect_refusal({"--script", job}, "either --train or --sweep");
  expect_refusal({"--train", folder / "c.ini", "--script", job}, "is no file");
  expect_refusal({"--train", a, "--script", a, "--check", "off"}, "is not overwritten");
  expect_refusal({"--train", a, "--script", job, "--check", "off", "--machine", "h100"},
                 "--check off leaves out");
}

TEST_F(SlurmScript, WhatCouldNotStartDoesNotGoIntoTheQueue) {
  write_tiny_data(folder);
  const std::string job = folder / "job.sbatch";
  const auto configuration = [&](const std::string& base, const std::string& output,
                                 const std::string& more = "") {
    write_text(folder / "c.ini", "base = " + folder / base + "\ndata = " + folder / "data" +
                                     "\noutput = " + output + "\n" + more);
    return folder / "c.ini";
  };
  const auto refusal = [&](const std::string& file, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"slurm", "--train", file, "--script", job});
    const Outcome outcome = run_chorus(more);
    EXPECT_NE(outcome.exit_code, 0) << outcome.out;
    EXPECT_FALSE(std::filesystem::exists(job));
    return outcome.err;
  };
  EXPECT_THAT(refusal(configuration("nowhere", folder / "run")), HasSubstr("nowhere"));
  EXPECT_THAT(refusal(configuration("base", folder / "run", "lora-rank = 0\n")), HasSubstr("lora-rank"));
  EXPECT_THAT(refusal(configuration("base", folder / "c.ini/run")), HasSubstr("c.ini is no folder"));
  EXPECT_THAT(refusal(configuration("base", folder / "run", "tensor-parallel = 2\n")),
              HasSubstr("does not divide the 1 ranks"));
  write_text(folder / "small.json", R"({
  "name": "a small one", "memory_gib": 0.001, "reserved_gib": 0, "communicator_mib": 0,
  "peak_tflops": {"bf16": 100, "f32": 10}, "peak_share": 0.5, "attention_share": 0.25,
  "memory_gb_per_second": 1000, "memory_share": 0.8, "call_us": 0, "gpus_per_node": 4,
  "node_link": {"gb_per_second": 100, "hop_us": 1}, "network": {"gb_per_second": 10, "hop_us": 5}})");
  const std::string good = configuration("base", folder / "run");
  EXPECT_THAT(refusal(good, {"--machine", folder / "small.json"}), HasSubstr("GiB, and a small one has 0.0"));
  run_successfully({"slurm", "--train", good, "--script", job, "--machine", "h100"});
  EXPECT_FALSE(std::filesystem::exists(folder / "run")) << "nothing is written but the script";
}

// Read as configurations of train, they lack nothing but their inputs.
TEST(SlurmTemplates, AreConfigurationsOfTrain) {
  const std::filesystem::path folder = std::filesystem::path(CHORUS_SOURCE_DIR) / "launch/templates";
  int found = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    const TemporaryFolder place;
    const Outcome outcome = run_chorus({"train", file.path(), "--base", place / "missing", "--data",
                                        place / "data", "--output", place / "out"});
    EXPECT_THAT(outcome.err, HasSubstr(place / "missing")) << file.path();
    ++found;
  }
  EXPECT_EQ(found, 3);
}

// A real Slurm, if it is installed and the script that starts one is there: CHORUS_SLURM_START, or the shared folder's.
class SlurmCluster : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const char* given = std::getenv("CHORUS_SLURM_START");
    const std::string source = std::filesystem::path(CHORUS_SOURCE_DIR).parent_path();
    start_ = given != nullptr ? given : source + "/shared/slurm/start.sh";
    if (!std::filesystem::exists(start_)) return missing("there is no script that starts a Slurm: " + start_);
    if (std::system("command -v sbatch slurmctld slurmd munged ip >/dev/null 2>&1") != 0)
      return missing("Slurm is not installed");
    folder_ = new TemporaryFolder;
    environment_ = at("environment");
    own_ = "NH_PREFIX=ch NH_NET=10.79.0 ";
    if (!start_slurm()) return missing("no Slurm could be started: " + read_text(at("start.err")));
    write_small_data(*folder_, 20, 4, 4);
  }
  static void TearDownTestSuite() {
    if (folder_ == nullptr) return;
    const std::filesystem::path stop = std::filesystem::path(start_).parent_path() / "stop.sh";
    EXPECT_EQ(std::system((own_ + stop.string() + " -d " + at("s") + " -x >/dev/null 2>&1").c_str()), 0);
    delete folder_;
  }
  void SetUp() override {
    if (!missing_.empty()) GTEST_SKIP() << "NOT TESTED: " << missing_;
  }

  // What runs already is left alone.
  static bool start_slurm() {
    const std::string command = own_ + start_ + " -d " + at("s") + " -p 17917 -m netns -n 2 >" +
                                environment_ + " 2>" + at("start.err");
    return std::system(command.c_str()) == 0;
  }
  static void missing(const std::string& what) { missing_ = what; }
  static std::string at(const std::string& name) { return *folder_ / name; }
  // What a command on the login node prints.
  static std::string login(const std::string& command) {
    const std::string line =
        ". " + environment_ + "; cd " + at("") + "; { " + command + "; } >" + at("said") + " 2>&1";
    EXPECT_EQ(std::system(("bash -c '" + line + "'").c_str()), 0) << command << ": " << read_text(at("said"));
    std::string said = read_text(at("said"));
    while (said.ends_with('\n')) said.pop_back();
    return said;
  }
  static std::string inputs(const std::string& name) {
    return "base = " + at("base") + "\ndata = " + at("data") + "\noutput = " + at(name) + "\n";
  }
  static void configure(const std::string& name, int steps, const std::string& more = "") {
    write_text(at(name + ".ini"),
               inputs(name) + "max-steps = " + std::to_string(steps) +
                   "\nlora-rank = 2\nlora-dropout = 0.1\nthreads = 1\nlogging-steps = 1\n" + more);
  }
  static std::string submit(const std::string& name, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{
        "slurm",   "--train", at(name + ".ini"), "--script",       at(name + ".sbatch"), "--name", name,
        "--nodes", "2",       "--log",           at(name + ".log")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    run_successfully(arguments);
    return login("sbatch --parsable " + at(name + ".sbatch"));
  }
  static std::string netns(const std::string& command) {
    const std::string script = std::filesystem::path(start_).parent_path() / "netns_hosts.sh";
    return login("NH_DIR=" + at("s/hosts") + " " + script + " " + command);
  }
  // Asking Slurm starts a program each time.
  static bool wait_until(const std::function<bool()>& condition, int seconds) {
    return becomes_true(condition, std::chrono::seconds(seconds), std::chrono::milliseconds(200));
  }
  static bool ends(const std::string& job, int seconds) {
    return wait_until([&] { return login("squeue -h -j " + job + " || true").empty(); }, seconds);
  }
  static std::string log(const std::string& name) { return read_text(at(name + ".log")); }
  static bool says(const std::string& name, const std::string& text, int seconds) {
    return wait_until([&] { return log(name).find(text) != std::string::npos; }, seconds);
  }
  static std::string adapter(const std::string& name) {
    return read_text(at(name) + "/adapter_model.safetensors");
  }

  static TemporaryFolder* folder_;
  static std::string start_, own_, environment_, missing_;
};
TemporaryFolder* SlurmCluster::folder_ = nullptr;
std::string SlurmCluster::start_, SlurmCluster::own_, SlurmCluster::environment_, SlurmCluster::missing_;

TEST_F(SlurmCluster, AWarnedJobSavesGoesBackIntoTheQueueAndEndsAsIfNothingHadBeen) {
  for (const std::string name : {"straight", "warned"}) configure(name, 60);
  const std::string straight = submit("straight");
  ASSERT_TRUE(ends(straight, 60)) << log("straight");
  EXPECT_THAT(log("straight"), HasSubstr("2 ranks = data 2 x tensor 1"));
  const std::string warned = submit("warned");
  ASSERT_TRUE(says("warned", "step 5/", 30)) << log("warned");
  login("scancel -b -s USR1 " + warned);
  ASSERT_TRUE(says("warned", "attempt 1 of job", 60)) << log("warned");
  ASSERT_TRUE(ends(warned, 60)) << log("warned");
  EXPECT_THAT(log("warned"), HasSubstr("stopped by a signal after step "));
  EXPECT_THAT(log("warned"), HasSubstr("attempt 0: exit code 6, the limit was near"));
  EXPECT_THAT(log("warned"), HasSubstr("attempt 1: exit code 0"));
  EXPECT_EQ(adapter("warned"), adapter("straight"));
  EXPECT_FALSE(adapter("warned").empty());
}

TEST_F(SlurmCluster, TasksThatDoNotFindEachOtherAreToldHow) {
  const std::string said = login("srun --mpi=none -N2 -n2 " + std::string(CHORUS_PROGRAM) +
                                 " train --base x --data y --output z || true");
  EXPECT_THAT(said, HasSubstr("srun started 2 tasks that do not find each other: use srun --mpi=pmix"));
}

// The real limit of a job, of one minute: Slurm's clock has no finer one.
TEST_F(SlurmCluster, LongJobsOutliveTheirTimeLimit) {
  for (const std::string name : {"unlimited", "limited"}) configure(name, 3000);
  const std::string unlimited = submit("unlimited");
  ASSERT_TRUE(ends(unlimited, 400)) << log("unlimited");
  const std::string limited = submit("limited", {"--time", "1", "--warning", "30"});
  ASSERT_TRUE(ends(limited, 900)) << log("limited");
  EXPECT_THAT(log("limited"), HasSubstr("exit code 6, the limit was near"));
  EXPECT_EQ(adapter("limited"), adapter("unlimited"));
}

TEST_F(SlurmCluster, LongACancelledJobSavesAndStaysAway) {
  configure("cancelled", 1000000);
  const std::string job = submit("cancelled");
  ASSERT_TRUE(says("cancelled", "step 5/", 60)) << log("cancelled");
  login("scancel " + job);
  ASSERT_TRUE(ends(job, 60));
  EXPECT_THAT(log("cancelled"), HasSubstr("stopped by a signal after step "));
  EXPECT_THAT(log("cancelled"), Not(HasSubstr("attempt 1 of job")));
}

TEST_F(SlurmCluster, LongRanksOfMpirunSaveBeforeTheLimit) {
  for (const std::string name : {"mpirun-straight", "mpirun-warned"}) configure(name, 120);
  const std::string straight = submit("mpirun-straight", {"--launcher", "mpirun"});
  ASSERT_TRUE(ends(straight, 90)) << log("mpirun-straight");
  EXPECT_THAT(log("mpirun-straight"), HasSubstr("2 ranks = data 2 x tensor 1"));
  const std::string warned = submit("mpirun-warned", {"--launcher", "mpirun"});
  ASSERT_TRUE(says("mpirun-warned", "step 5/", 60)) << log("mpirun-warned");
  login("scancel -b -s USR1 " + warned);
  ASSERT_TRUE(ends(warned, 120)) << log("mpirun-warned");
  EXPECT_THAT(log("mpirun-warned"), HasSubstr("stopped by a signal after step "));
  EXPECT_THAT(log("mpirun-warned"), HasSubstr("continues from "));
  EXPECT_EQ(adapter("mpirun-warned"), adapter("mpirun-straight"));
  EXPECT_FALSE(adapter("mpirun-warned").empty());
}

// Slurm takes the machines away for a job of a higher partition, and gives them back.
TEST_F(SlurmCluster, LongAPreemptedJobSavesAndGoesOnLater) {
  for (const std::string name : {"undisturbed", "preempted"}) configure(name, 600);
  configure("urgent", 5);
  const std::string undisturbed = submit("undisturbed");
  ASSERT_TRUE(ends(undisturbed, 120)) << log("undisturbed");
  const std::string all = std::to_string(std::thread::hardware_concurrency());
  const std::string job = submit("preempted", {"--partition", "low", "--cpus-per-rank", all});
  ASSERT_TRUE(says("preempted", "step 5/", 60)) << log("preempted");
  const std::string urgent = submit("urgent", {"--partition", "high", "--cpus-per-rank", all});
  ASSERT_TRUE(ends(urgent, 120)) << log("urgent");
  EXPECT_FALSE(adapter("urgent").empty());
  ASSERT_TRUE(ends(job, 240)) << log("preempted");
  EXPECT_THAT(log("preempted"), HasSubstr("stopped by a signal after step "));
  EXPECT_THAT(log("preempted"), HasSubstr("continues from "));
  EXPECT_EQ(adapter("preempted"), adapter("undisturbed"));
}

TEST_F(SlurmCluster, LongAMachineDiesAndComesBack) {
  for (const std::string name : {"sound", "struck"}) configure(name, 600, "save-steps = 5\n");
  const std::string sound = submit("sound");
  ASSERT_TRUE(ends(sound, 120)) << log("sound");
  const std::string struck = submit("struck");
  ASSERT_TRUE(says("struck", "step 12/", 60)) << log("struck");
  netns("crash h2");
  ASSERT_TRUE(wait_until(
      [&] { return login("squeue -h -o %T -j " + struck).find("RUNNING") == std::string::npos; }, 180))
      << log("struck");
  netns("revive h2");
  ASSERT_TRUE(start_slurm()) << read_text(at("start.err"));
  ASSERT_TRUE(says("struck", "attempt 1 of job", 240)) << log("struck");
  ASSERT_TRUE(ends(struck, 240)) << log("struck");
  EXPECT_THAT(log("struck"), HasSubstr("continues from "));
  EXPECT_EQ(adapter("struck"), adapter("sound"));
}

// The line that chorus slurm prints: an array of the trials, and a job after it that scores the best.
TEST_F(SlurmCluster, LongASweepIsAnArrayAndAJobThatEndsIt) {
  write_text(at("sweep.ini"),
             inputs("sweep") +
                 "vary = lora-rank=2,4; learning-rate=1e-3\n"
                 "train-options = --max-steps 10 --threads 1\nevaluate-options = --threads 1\n");
  const std::string said = run_successfully({"slurm", "--sweep", at("sweep.ini"), "--script",
                                             at("sweep.sbatch"), "--nodes", "2", "--log", at("sweep.log")});
  EXPECT_THAT(said, HasSubstr("2 trainings of 2 ranks on 2 nodes"));
  std::string line = said.substr(said.find("sbatch --dependency"));
  line.pop_back();
  login(line);
  ASSERT_TRUE(wait_until([&] { return login("squeue -h").empty(); }, 240)) << log("sweep");
  EXPECT_THAT(log("sweep"), HasSubstr("lora-rank=4,learning-rate=1e-3/seed-1 | done before"));
  EXPECT_THAT(read_text(at("sweep/sweep.json")), HasSubstr("test_weighted_f1"));
}

TEST_F(SlurmCluster, LongArraysTrainEverySeed) {
  configure("seeds", 20);
  const std::string job = submit("seeds", {"--seeds", "1,2", "--output", at("seeds"), "--at-once", "1"});
  ASSERT_TRUE(ends(job, 120)) << log("seeds");
  EXPECT_FALSE(adapter("seeds/seed-1").empty());
  EXPECT_FALSE(adapter("seeds/seed-2").empty());
  EXPECT_NE(adapter("seeds/seed-1"), adapter("seeds/seed-2"));
}

}  // namespace
}  // namespace chorus
