#include "experiments/studies/sweep.h"

#include <cmath>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "tests/support/message_of.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using test::holds;
using test::message_of;

std::string refused_dimensions(const std::string& text) {
  return message_of<ConfigurationError>([&] { parse_dimensions(text, "--vary"); });
}

SweepRequest small_request() {
  SweepRequest request{
      .base = "/b",
      .data = "/d",
      .output = "/o",
      .dimensions = parse_dimensions("lora-rank=4,8; learning-rate=1e-4,3e-4,1e-3", "--vary"),
      .trials = {},
      .seeds = {1, 2},
      .train = {{"epochs", "4"}},
      .evaluate = {{"threads", "1"}}};
  request.trials = grid_trials(request.dimensions);
  return request;
}

TEST(SweepDimensions, AreListsOrRanges) {
  const auto dimensions =
      parse_dimensions(" lora-rank = 4, 8 ; learning-rate=log:1e-5..1e-3; lora-dropout=0..0.2;", "x");
  ASSERT_EQ(dimensions.size(), 3U);
  EXPECT_EQ(dimensions[0], (Dimension{.option = "lora-rank", .values = {"4", "8"}}));
  EXPECT_EQ(
      dimensions[1],
      (Dimension{.option = "learning-rate", .values = {}, .low = 1e-5, .high = 1e-3, .logarithmic = true}));
  EXPECT_EQ(dimensions[2], (Dimension{.option = "lora-dropout", .values = {}, .low = 0, .high = 0.2}));
}

TEST(SweepDimensions, NameWhatIsWrong) {
  EXPECT_TRUE(holds(refused_dimensions(""), "--vary names nothing to vary"));
  EXPECT_TRUE(holds(refused_dimensions("lora-rank"), "'lora-rank' must be OPTION=VALUE,VALUE"));
  EXPECT_TRUE(holds(refused_dimensions("lora-rank=4,4"), "stands there twice"));
  EXPECT_TRUE(holds(refused_dimensions("lora-rank=4,"), "is empty"));
  EXPECT_TRUE(holds(refused_dimensions("lora-rank=4;lora-rank=8"), "lora-rank is varied twice"));
  EXPECT_TRUE(holds(refused_dimensions("learning-rate=1..x"), "'x' is no number"));
  EXPECT_TRUE(holds(refused_dimensions("learning-rate=2..1"), "must rise"));
  EXPECT_TRUE(holds(refused_dimensions("learning-rate=log:0..1"), "must rise from above 0"));
}

TEST(SweepTrials, AGridIsEveryCombination) {
  const std::vector<Trial> trials =
      grid_trials(parse_dimensions("lora-rank=4,8; learning-rate=1e-4,3e-4,1e-3", "x"));
  ASSERT_EQ(trials.size(), 6U);
  EXPECT_EQ(trials[0].name, "lora-rank=4,learning-rate=1e-4");
  EXPECT_EQ(trials[1].name, "lora-rank=4,learning-rate=3e-4");
  EXPECT_EQ(trials[5].values, (std::vector<std::string>{"8", "1e-3"}));
  EXPECT_TRUE(holds(message_of<ConfigurationError>([] { grid_trials(parse_dimensions("a=0..1", "x")); }),
                    "a grid cannot cover the range of a"));
}

TEST(SweepTrials, RandomOnesAreAFunctionOfTheSeedWithinTheirRanges) {
  const auto dimensions = parse_dimensions("learning-rate=log:1e-5..1e-3; lora-rank=4,8,16", "x");
  const std::vector<Trial> trials = random_trials(dimensions, 200, 3);
  EXPECT_EQ(trials, random_trials(dimensions, 200, 3));
  EXPECT_NE(trials, random_trials(dimensions, 200, 4));
  ASSERT_EQ(trials.size(), 200U);
  int below_middle = 0;
  std::set<std::string> ranks;
  for (const Trial& trial : trials) {
    const double rate = std::stod(trial.values[0]);
    EXPECT_GE(rate, 1e-5 * 0.999);
    EXPECT_LE(rate, 1e-3 * 1.001);
    below_middle += rate < 1e-4 ? 1 : 0;
    ranks.insert(trial.values[1]);
  }
  EXPECT_NEAR(below_middle, 100, 5 * std::sqrt(50)) << "even in the logarithm";
  EXPECT_EQ(ranks.size(), 3U);
  EXPECT_EQ(random_trials(parse_dimensions("lora-rank=4,8,16", "x"), 10, 1).size(), 3U) << "nothing twice";
}

TEST(SweepJobs, TrainEachTrialWithEachSeed) {
  const SweepRequest request = small_request();
  const std::vector<Job> jobs = training_jobs(request, {1, 5}, 0);
  ASSERT_EQ(jobs.size(), 4U);
  EXPECT_EQ(jobs[1].arguments,
            (std::vector<std::string>{"train", "--base", "/b", "--data", "/d", "--seed", "2", "--epochs", "4",
                                      "--learning-rate", "3e-4", "--lora-rank", "4", "--output",
                                      "/o/runs/lora-rank=4,learning-rate=3e-4/seed-2/train/output"}));
  const std::vector<Job> tests = test_jobs(request, 5);
  ASSERT_EQ(tests.size(), 2U);
  EXPECT_EQ(tests[0].arguments[4], "/o/runs/lora-rank=8,learning-rate=1e-3/seed-1/train/output");
}

TEST(SweepJobs, EarlierRoundsTrainShorter) {
  SweepRequest request = small_request();
  request.factor = 2;
  request.rungs = 3;
  EXPECT_EQ(epochs_of(request, 0), 1);
  EXPECT_EQ(epochs_of(request, 2), 4);
  const Job job = training_jobs(request, {0}, 0)[0];
  EXPECT_EQ(job.folder, "/o/runs/round-1/lora-rank=4,learning-rate=1e-4/seed-1/train");
  EXPECT_EQ(job.arguments[8], "1") << "epochs";
  EXPECT_EQ(test_jobs(request, 0)[0].folder,
            "/o/runs/round-3/lora-rank=4,learning-rate=1e-4/seed-1/evaluate");
}

TEST(SweepRanking, TheMeanOnDevDecidesAndFailuresComeLast) {
  std::vector<TrialResult> results{{.trial = 0, .dev = {0.5, 0.7}, .test = {}},
                                   {.trial = 1, .dev = {0.9}, .failed = 1, .test = {}},
                                   {.trial = 2, .dev = {0.61, 0.61}, .test = {}},
                                   {.trial = 3, .rung = 1, .dev = {0.2, 0.2}, .test = {}}};
  EXPECT_EQ(survivors(results, 2), (std::vector<std::size_t>{2, 3}));
  EXPECT_EQ(survivors(results, 5), (std::vector<std::size_t>{3})) << "at least one";
  rank(results);
  std::vector<std::size_t> order;
  for (const TrialResult& result : results) order.push_back(result.trial);
  EXPECT_EQ(order, (std::vector<std::size_t>{3, 2, 0, 1}));
}

TEST(SweepTable, ShowsTrialsAndTheMapOfTwoLists) {
  const SweepRequest request = small_request();
  std::vector<TrialResult> results{{.trial = 4, .dev = {0.5, 0.6}, .test = {0.52, 0.54}},
                                   {.trial = 0, .dev = {0.4, 0.4}, .test = {}},
                                   {.trial = 1, .dev = {}, .failed = 2, .test = {}}};
  const std::string table = to_table(request, results, {.dev = 0.4, .test = 0.35});
  EXPECT_TRUE(holds(table, "55.00 ± 7.07")) << table;
  EXPECT_TRUE(holds(table, "53.00 ± 1.41")) << table;
  EXPECT_TRUE(holds(table, "2 failed")) << table;
  EXPECT_TRUE(holds(table, "lora-rank \\ learning-rate")) << table;
  EXPECT_TRUE(holds(table, "the majority label alone")) << table;
  EXPECT_TRUE(holds(table, "35.00")) << table;
  EXPECT_FALSE(holds(to_table(request, results, {}), "majority"));
  const nlohmann::ordered_json json = to_json(request, results, {.dev = 0.4, .test = {}});
  EXPECT_EQ(json["majority"]["dev"], 0.4);
  EXPECT_EQ(json["trials"][0]["values"]["lora-rank"], "8");
  EXPECT_EQ(json["trials"][2]["failed"], 2);
}

TEST(SweepTable, ShowsALossAsALossAndWhatPatienceEnded) {
  SweepRequest request = small_request();
  request.dev_metric = DevMetric::loss;
  std::vector<TrialResult> results{
      {.trial = 4, .dev = {-1.5, -1.7}, .stopped_early = 2, .test = {0.52, 0.54}},
      {.trial = 0, .dev = {-2, -2}, .stopped_early = 1, .test = {}}};
  rank(results);
  EXPECT_EQ(results[0].trial, 4U) << "the smaller loss";
  const std::string table = to_table(request, results, {});
  EXPECT_TRUE(holds(table, "dev (loss)")) << table;
  EXPECT_TRUE(holds(table, "1.6000 ± 0.1414")) << table;
  EXPECT_TRUE(holds(table, "53.00 ± 1.41         stopped early")) << table;
  EXPECT_TRUE(holds(table, "1 of 2 stopped early")) << table;
  EXPECT_TRUE(holds(table, "loss on dev\n")) << table;
  const nlohmann::ordered_json json = to_json(request, results, {});
  EXPECT_EQ(json["dev_metric"], "loss");
  EXPECT_EQ(json["trials"][0]["stopped_early"], 2);
}

}  // namespace
}  // namespace chorus
