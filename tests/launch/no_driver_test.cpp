// The program linked with the real CUDA libraries, on a machine without a driver.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;

bool has_driver() { return std::filesystem::exists("/proc/driver/nvidia/version"); }

TEST(NoDriver, CudaIsRefusedWithTheReason) {
  if (has_driver()) GTEST_SKIP() << "this machine has an NVIDIA driver: its absence was not tested";
  const Outcome outcome = run_chorus({"bench", "--device", "cuda", "--step", "off", "--operators", "off"});
  EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::configuration));
  EXPECT_THAT(outcome.err, HasSubstr("no usable GPU: no NVIDIA driver is loaded"));
}

TEST(NoDriver, TheCpuIsTheAutomaticChoice) {
  if (has_driver()) GTEST_SKIP() << "this machine has an NVIDIA driver: its absence was not tested";
  const Outcome outcome =
      run_chorus({"bench", "--step", "off", "--operators", "off", "--matrix", "64", "--seconds", "0.001"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("CPU thread"));
}

}  // namespace
}  // namespace chorus
