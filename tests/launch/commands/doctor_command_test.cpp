#include <algorithm>
#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/process/system_facts.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;

constexpr std::int64_t gibi = 1 << 30;

// A machine about which there is nothing to say.
SystemFacts good_machine() {
  SystemFacts facts;
  facts.host = "node";
  facts.processor = "fast";
  facts.online_cores = facts.allowed_cores = 8;
  facts.avx2 = facts.avx512 = facts.avx512_bf16 = facts.amx_bf16 = true;
  facts.memory = 64 * gibi;
  facts.free_memory = 60 * gibi;
  facts.huge_pages = "madvise";
  facts.free_shared_memory = 16 * gibi;
  facts.output = "/out";
  facts.output_writable = true;
  facts.output_free = 100 * gibi;
  return facts;
}

std::string advice_on(const std::string& what, const SystemFacts& facts, const IntendedRun& run = {}) {
  for (const Finding& finding : examine(facts, run)) {
    if (finding.what == what) return finding.advice;
  }
  ADD_FAILURE() << "nothing was said of " << what;
  return "";
}

TEST(SystemFacts, OfAGoodMachineNeedNoAdvice) {
  for (const Finding& finding : examine(good_machine(), {})) EXPECT_EQ(finding.advice, "") << finding.what;
}

TEST(SystemFacts, WhatIsWrongIsSaidWithWhatToChange) {
  SystemFacts facts = good_machine();
  facts.ranks_here = 2;
  facts.allowed_cores = 1;
  facts.avx2 = false;
  facts.free_memory = gibi / 2;
  facts.memory_limit = 8 * gibi;
  facts.huge_pages = "never";
  facts.locked_limit = 64 << 10;
  facts.file_limit = 256;
  facts.free_shared_memory = 64 << 20;
  facts.ptrace_scope = 1;
  EXPECT_THAT(advice_on("cores", facts), HasSubstr("6 cores stay idle: give mpirun --bind-to none"));
  EXPECT_THAT(advice_on("cores", facts, {.threads = 4}), HasSubstr("--threads 4 is more than the 1 cores"));
  EXPECT_THAT(advice_on("instructions", facts), HasSubstr("choose a machine with AVX2"));
  EXPECT_EQ(advice_on("instructions", facts, {.gpu = true}), "");
  EXPECT_THAT(advice_on("memory", facts), HasSubstr("less than 1 GiB"));
  EXPECT_THAT(advice_on("memory limit", facts), HasSubstr("--mem"));
  EXPECT_THAT(advice_on("huge pages", facts), HasSubstr("madvise"));
  EXPECT_THAT(advice_on("locked memory", facts, {.gpu = true}), HasSubstr("ulimit -l unlimited"));
  EXPECT_THAT(advice_on("open files", facts), HasSubstr("ulimit -n"));
  EXPECT_THAT(advice_on("/dev/shm", facts), HasSubstr("128 MiB are wanted"));
  EXPECT_THAT(advice_on("ptrace scope", facts), HasSubstr("ptrace_scope=0"));
}

TEST(SystemFacts, OtherProgramsOnTheCoresAreNamedWhereTheyAreInTheWay) {
  SystemFacts facts = good_machine();
  facts.busy_cores = 1.2;
  EXPECT_THAT(advice_on("cores", facts), HasSubstr("other programs keep 1.2 of 8 cores busy"));
  EXPECT_EQ(advice_on("cores", facts, {.threads = 6}), "") << "they have cores of their own";
  EXPECT_EQ(advice_on("cores", facts, {.gpu = true}), "");
  facts.ranks_here = 2;
  EXPECT_EQ(advice_on("cores", facts, {.threads = 3}), "");
  EXPECT_THAT(advice_on("cores", facts, {.threads = 4}), HasSubstr("(--threads)"));
  facts.busy_cores = 0.2;
  EXPECT_EQ(advice_on("cores", facts), "") << "something always runs";
}

TEST(SystemFacts, BusyIsWhatOthersAndTheHostTookOfTheCoresThatAreAllowed) {
  const std::string before =
      "cpu  9 9 9 9 9 9 9 9 0 0\n"
      "cpu0 100 0 10 1000 5 0 0 0 0 0\n"
      "cpu1 200 0 10 1000 5 0 0 0 0 0\n"
      "cpu2 300 0 10 1000 5 0 0 0 0 0\nintr 1 2 3\n";
  const std::string after =
      "cpu  9 9 9 9 9 9 9 9 0 0\n"
      "cpu0 110 0 10 1010 5 0 0 0 0 0\n"   // half
      "cpu1 200 4 12 1000 9 1 3 10 0 0\n"  // waiting for a disk is no work
      "cpu2 320 0 10 1000 5 0 0 0 0 0\nintr 1 2 3\n";
  EXPECT_DOUBLE_EQ(busy_between(before, after, {0}), 0.5);
  EXPECT_DOUBLE_EQ(busy_between(before, after, {0, 1}), 0.5 + 20.0 / 24.0);
  EXPECT_DOUBLE_EQ(busy_between(before, after, {2, 7}), 1);
  EXPECT_DOUBLE_EQ(busy_between(before, before, {0, 1, 2}), 0);
}

TEST(SystemFacts, ABusyCoreIsSeen) {
  std::atomic<bool> enough{false};
  std::thread neighbour([&] {
    while (!enough) {
    }
  });
  EXPECT_GT(read_system(".", 1).busy_cores, 0.3);
  enough = true;
  neighbour.join();
}

TEST(SystemFacts, WhatWouldStopARunIsTold) {
  SystemFacts facts = good_machine();
  const auto stops = [&] {
    const std::vector<Finding> findings = examine(facts, {});
    return std::count_if(findings.begin(), findings.end(),
                         [](const Finding& finding) { return finding.level == Finding::Level::stop; });
  };
  EXPECT_EQ(stops(), 0);
  facts.output_writable = false;
  facts.file_limit = 64;
  EXPECT_EQ(stops(), 2);
}

TEST(SystemFacts, FindingsSurviveTheirWayToOtherRanks) {
  const std::vector<Finding> findings{{"a", "1 of 2", Finding::Level::stop, "do this"}, {"b", ""}};
  EXPECT_EQ(parse_findings(print_findings(findings)), findings);
}

TEST(SystemFacts, ASlowNetworkIsNamed) {
  EXPECT_EQ(examine_all_reduce(5e9, 2e-5, 2).level, Finding::Level::fine);
  EXPECT_THAT(examine_all_reduce(1e8, 2e-5, 2).advice, HasSubstr("btl_tcp_if_include"));
  EXPECT_THAT(examine_all_reduce(5e9, 2e-3, 2).advice, HasSubstr("more ranks than free cores"));
}

TEST(DoctorCommand, WorksWithoutLauncherAndGpu) {
  const TemporaryFolder folder;
  const std::string told = run_successfully({"doctor", "--output", folder / "run", "--device", "cpu"});
  for (const char* what :
       {"cores", "instructions", "memory", "open files", "MPI", "GPUs", "1, without a launcher"})
    EXPECT_THAT(told, HasSubstr(what));
}

TEST(DoctorCommand, AnOutputThatIsNoFolderStopsARun) {
  const TemporaryFolder folder;
  write_text(folder / "file", "not a folder");
  const Outcome outcome = run_chorus({"doctor", "--output", folder / "file/run", "--device", "cpu"});
  EXPECT_EQ(outcome.exit_code, 2) << outcome.out;
  EXPECT_THAT(outcome.out, HasSubstr("STOP"));
}

TEST(DoctorCommand, RanksMeasureTheirSums) {
  if (!has_mpirun()) GTEST_SKIP() << "mpirun is not installed: NO RUN OF TWO PROCESSES WAS TESTED";
  const TemporaryFolder folder;
  const std::string told = run_successfully(
      {"doctor", "--output", folder / "run", "--device", "cpu", "--seconds", "0.001"}, mpirun(2));
  EXPECT_THAT(told, HasSubstr("all-reduce"));
  EXPECT_THAT(told, HasSubstr("2 ranks"));
  EXPECT_THAT(told, HasSubstr("pml"));
}

}  // namespace
}  // namespace chorus
