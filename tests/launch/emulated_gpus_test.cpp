// What only emulated machines can show: missing, too few, different and old GPUs, little memory, and calls that fail.

#include <cmath>
#include <cstdlib>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/formats/safetensors.h"
#include "ops/base/error.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;

// Sets an environment variable of the programs that a test starts.
class Setting {
 public:
  Setting(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    setenv(name, value, 1);
  }
  ~Setting() {
    if (before_.empty()) {
      unsetenv(name_);
    } else {
      setenv(name_, before_.c_str(), 1);
    }
  }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  const char* name_;
  std::string before_;
};

std::vector<std::string> bench(const std::string& device) {
  return {"bench", "--device", device, "--step",    "off",  "--operators",
          "off",   "--matrix", "64",   "--seconds", "0.001"};
}

void expect_refused(const std::vector<std::string>& launcher, const std::string& reason) {
  const Outcome outcome = run_chorus(bench("cuda"), launcher);
  EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::configuration)) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr(reason));
}

TEST(EmulatedGpus, WithoutDriver) {
  const Setting setting("CUDA_EMULATION_DEVICES", "none");
  expect_refused({}, "no usable GPU: no NVIDIA driver is loaded");
  const Outcome automatic = run_chorus(bench("auto"));
  EXPECT_EQ(automatic.exit_code, 0) << automatic.err;
  EXPECT_THAT(automatic.out, HasSubstr("CPU thread"));
}

TEST(EmulatedGpus, AutomaticChoiceTakesTheGpu) {
  const Outcome outcome = run_chorus(bench("auto"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("Emulated GPU"));
}

// A step makes the same calls on either device, and on a GPU events measure them.
TEST(EmulatedGpus, BenchTimesTheCallsOfAStep) {
  const TemporaryFolder folder;
  const auto calls = [&](const std::string& device) {
    const std::string file = folder / device + ".json";
    run_successfully({"bench", "--device", device, "--operators", "off", "--layers", "1", "--tokens", "32",
                      "--matrix", "64", "--seconds", "0.001", "--output", file});
    std::map<std::string, double> found;
    double step = 0, sum = 0;
    const nlohmann::json run = nlohmann::json::parse(read_text(file));
    for (const auto& m : run["measurements"]) {
      if (m["name"] == "whole, each call timed") step = m["seconds"];
      if (m["group"] != "operators of the step") continue;
      EXPECT_GE(m["seconds"], 0) << m;
      sum += m["calls"].get<double>() * m["seconds"].get<double>();
      found[m["name"].get<std::string>() + m["shape"].get<std::string>()] = m["calls"];
    }
    EXPECT_GT(step, 0);
    EXPECT_NEAR(sum, step, 1e-6 * step) << device;
    return found;
  };
  EXPECT_EQ(calls("cuda"), calls("cpu"));
}

TEST(EmulatedGpus, TooFew) {
  const Setting setting("CUDA_EMULATION_DEVICES", "1");
  expect_refused(mpirun(2), "too few GPUs: ranks 0 and 1 would share one Emulated GPU");
}

TEST(EmulatedGpus, Different) {
  const Setting setting("CUDA_EMULATION_DEVICES", "8.0,9.0");
  expect_refused(mpirun(2), "the GPUs differ: rank 0 has Emulated GPU (8.0");
}

TEST(EmulatedGpus, TooOld) {
  const Setting setting("CUDA_EMULATION_DEVICES", "7.5");
  expect_refused({}, "has compute capability 7.5; Chorus needs 8.0");
  EXPECT_THAT(run_chorus(bench("auto")).out, HasSubstr("CPU thread"));
}

TEST(EmulatedGpus, TooLittleMemory) {
  const Setting setting("CUDA_EMULATION_MEMORY", "100000000");
  const Outcome outcome = run_chorus(bench("cuda"));
  EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::memory)) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("benchmark"));
  EXPECT_THAT(outcome.err, HasSubstr("bytes"));
}

// Two ranks, of which one's call fails: both end, and the call is named.
TEST(EmulatedGpus, FailedCallsOfNcclEndAllRanks) {
  for (const char* call :
       {"ncclGetUniqueId", "ncclCommInitRank", "ncclCommSplit", "ncclAllReduce", "ncclBroadcast"}) {
    const Setting setting("CUDA_EMULATION_FAIL", (std::string(call) + ":1:3").c_str());
    const Outcome outcome = run_chorus(bench("cuda"), mpirun(2));
    EXPECT_NE(outcome.exit_code, 0) << call;
    EXPECT_THAT(outcome.err, HasSubstr(call));
  }
}

// By which examples are retrieved.
TEST(EmulatedGpus, TwoMakeTheVectorsOfLinesOfACpu) {
  if (!has_mpirun()) GTEST_SKIP() << "mpirun is not installed: NO RUN OF TWO PROCESSES WAS TESTED";
  const TemporaryFolder folder;
  write_small_data(folder, 2, 1, 1);
  const auto vectors = [&](const std::string& device, const std::vector<std::string>& launcher) {
    const std::string kept = folder / (device + "_kept");
    run_successfully(
        {"prepare", folder / "corpus", "--base", folder / "base", "--recipe", "retrieval", "--demonstrations",
         "1", "--retrieval", "embedding", "--device", device, "--tensor-parallel",
         launcher.empty() ? "1" : "2", "--vectors", kept, "--output", folder / (device + "_data")},
        launcher);
    return read_tensor(SafetensorsFile(std::filesystem::directory_iterator(kept)->path()).tensor("vectors"));
  };
  const std::vector<float> expected = vectors("cpu", {}), found = vectors("cuda", mpirun(2));
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(found[i], expected[i], 1e-4F * (1 + std::abs(expected[i])));
}

}  // namespace
}  // namespace chorus
