#include "core/training/schedule.h"

#include <cmath>
#include <fstream>
#include <limits>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using test::holds;
using test::message_of;

TEST(Schedule, WarmsUpFromZero) {
  for (const auto kind : {ScheduleKind::constant, ScheduleKind::linear, ScheduleKind::cosine}) {
    const Schedule schedule{kind, 0.5, 4, 12};
    EXPECT_EQ(learning_rate(schedule, 0), 0);
    EXPECT_EQ(learning_rate(schedule, 1), 0.125);
    EXPECT_EQ(learning_rate(schedule, 3), 0.375);
    EXPECT_EQ(learning_rate(schedule, 4), 0.5);
  }
}

TEST(Schedule, DecaysToZero) {
  EXPECT_EQ(learning_rate({ScheduleKind::constant, 0.5, 4, 12}, 11), 0.5);
  EXPECT_EQ(learning_rate({ScheduleKind::constant, 0.5, 4, 12}, 50), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate({ScheduleKind::linear, 0.5, 4, 12}, 6), 0.375);
  EXPECT_DOUBLE_EQ(learning_rate({ScheduleKind::linear, 0.5, 4, 12}, 11), 0.0625);
  EXPECT_DOUBLE_EQ(learning_rate({ScheduleKind::cosine, 0.5, 4, 12}, 6), 0.25 * (1 + std::sqrt(0.5)));
  EXPECT_DOUBLE_EQ(learning_rate({ScheduleKind::cosine, 0.5, 4, 12}, 8), 0.25);
  for (const auto kind : {ScheduleKind::linear, ScheduleKind::cosine}) {
    EXPECT_EQ(learning_rate({kind, 0.5, 4, 12}, 12), 0);
    EXPECT_EQ(learning_rate({kind, 0.5, 4, 12}, 40), 0);
  }
}

TEST(Schedule, IsDefinedWhenTheWarmUpIsTheWholeTraining) {
  const Schedule schedule{ScheduleKind::cosine, 1, 3, 3};
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 2), 2.0 / 3);
  EXPECT_EQ(learning_rate(schedule, 3), 0);
}

TEST(Schedule, ALongerWarmUpIsThatOfALongerTraining) {
  for (const auto kind : {ScheduleKind::constant, ScheduleKind::linear, ScheduleKind::cosine}) {
    EXPECT_DOUBLE_EQ(learning_rate({kind, 1e-3, 100, 4}, 3), 3e-5);
    EXPECT_EQ(learning_rate({kind, 1e-3, 100, 4}, 2), learning_rate({kind, 1e-3, 100, 400}, 2));
  }
  ScheduleConfig config;
  config.warmup_steps = 100;
  EXPECT_EQ(make_schedule(config, 4).warmup_steps, 100);
  config.warmup_steps = std::nullopt;
  config.warmup_ratio = 1;
  EXPECT_EQ(make_schedule(config, 4).warmup_steps, 4);
}

TEST(Schedule, AgreesWithTheGoldenRuns) {
  struct Case {
    std::string_view folder;
    Schedule schedule;
  };
  // The options of each run, from the table of its README.
  const Case cases[] = {{"golden/stories260K-qv-constant", {ScheduleKind::constant, 1e-2, 0, 8}},
                        {"golden/stories3M-all-cosine", {ScheduleKind::cosine, 3e-3, 2, 8}},
                        {"golden/2shard-all-linear-clip", {ScheduleKind::linear, 1e-2, 1, 8}},
                        {"golden/hf-llama3rope-kogd", {ScheduleKind::constant, 1e-2, 0, 8}},
                        {"golden/stories260K-full", {ScheduleKind::constant, 1e-3, 0, 8}}};
  for (const auto& [folder, schedule] : cases) {
    const auto path = test::shared_path(folder);
    if (!path) GTEST_SKIP() << test::missing_shared(folder);
    std::ifstream file(*path / "train.jsonl");
    int lines = 0;
    for (std::string line; std::getline(file, line); ++lines) {
      const auto step = nlohmann::json::parse(line);
      const double expected = step["lr"];
      // Both round a handful of f64 operations.
      EXPECT_NEAR(learning_rate(schedule, step["step"]), expected, 8 * 2.2e-16 * schedule.peak)
          << folder << line;
    }
    EXPECT_EQ(lines, 8) << folder;
  }
}

TEST(Schedule, NamesItsKinds) {
  for (const auto kind : {ScheduleKind::constant, ScheduleKind::linear, ScheduleKind::cosine}) {
    EXPECT_EQ(parse_schedule_kind(name(kind)), kind);
  }
  EXPECT_EQ(message_of<ConfigurationError>([] { parse_schedule_kind("polynomial"); }),
            "--schedule polynomial: there are constant, linear and cosine");
}

TEST(Schedule, RefusesNumbersThatMakeNoSense) {
  EXPECT_NO_THROW(validate({ScheduleKind::linear, 1e-3, 6, 5}));
  const auto refusal = [](double peak, std::int64_t warmup, std::int64_t total) {
    return message_of<ConfigurationError>([&] { validate({ScheduleKind::linear, peak, warmup, total}); });
  };
  EXPECT_TRUE(holds(refusal(-1, 0, 5), "--learning-rate -1"));
  EXPECT_TRUE(holds(refusal(std::numeric_limits<double>::quiet_NaN(), 0, 5), "--learning-rate nan"));
  EXPECT_TRUE(holds(refusal(1, -1, 5), "with -1 steps of warm-up"));
}

}  // namespace
}  // namespace chorus
