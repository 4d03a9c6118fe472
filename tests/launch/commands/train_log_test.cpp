#include "launch/commands/train_log.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/launch/program.h"

namespace chorus {
namespace {

// What a log says of two steps, 3·10¹² FLOP in 3 seconds, on ranks with such a peak.
nlohmann::json logged_entry(double peak_flops, std::string& shown) {
  const TemporaryFolder folder;
  TrainConfig config;
  config.output = folder / "";
  config.logging_steps = 2;
  Console console;
  Activity activity;
  testing::internal::CaptureStdout();
  TrainLog log(
      config, console, true, {}, [] { return std::int64_t{0}; }, activity, peak_flops);
  log.step_done({.step = 1, .flops = 1e12, .seconds = 2, .tensor_norms = {}}, 2);
  log.step_done({.step = 2, .flops = 2e12, .seconds = 1, .tensor_norms = {}}, 2);
  shown = testing::internal::GetCapturedStdout();
  return nlohmann::json::parse(read_text(folder / "trainer_log.jsonl"));
}

TEST(TrainLog, TellsMfuWhereThePeakIsKnown) {
  std::string shown;
  EXPECT_DOUBLE_EQ(logged_entry(4e12, shown).at("mfu"), 0.25);
  EXPECT_NE(shown.find("     eta  MFU\n"), std::string::npos) << shown;
  EXPECT_NE(shown.find("  25%\n"), std::string::npos) << shown;
  std::size_t widest = 0;
  for (std::size_t begin = 0, end = 0; (end = shown.find('\n', begin)) != std::string::npos; begin = end + 1)
    widest = std::max(widest, end - begin);
  EXPECT_LE(widest, 110U);
  EXPECT_FALSE(logged_entry(0, shown).contains("mfu"));
  EXPECT_EQ(shown.find("MFU"), std::string::npos) << shown;
}

}  // namespace
}  // namespace chorus
