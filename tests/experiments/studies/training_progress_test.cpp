#include "experiments/studies/training_progress.h"

#include <cmath>
#include <fstream>

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/support/message_of.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

class TrainingProgressTest : public testing::Test {
 protected:
  void log(const std::string& text) {
    std::ofstream(folder_.path() / "trainer_log.jsonl", std::ios::app) << text;
  }
  test::ScratchFolder folder_;
};

TEST_F(TrainingProgressTest, TellsTheLastStepAndTheLastScore) {
  EXPECT_FALSE(read_progress(folder_.path()));
  log(R"({"current_steps":10,"total_steps":40,"loss":2.5,"remaining_time":30.0}
{"current_steps":10,"eval_loss":2.0,"eval_weighted_f1":0.25,"best":true}
{"current_steps":20,"total_steps":40,"loss":1.5,"remaining_time":20.0}
)");
  log("{\"current_steps\":30,\"total_st");  // as it is written
  const auto progress = read_progress(folder_.path());
  ASSERT_TRUE(progress);
  EXPECT_EQ(progress->step, 20);
  EXPECT_EQ(progress->total_steps, 40);
  EXPECT_EQ(progress->loss, 1.5);
  EXPECT_EQ(progress->remaining_seconds, 20);
  EXPECT_EQ(progress->dev_f1, 0.25);
}

TEST_F(TrainingProgressTest, ReadsTheEndOfALongLog) {
  for (int step = 1; step <= 3000; ++step)
    log("{\"current_steps\":" + std::to_string(step) + ",\"total_steps\":3000,\"loss\":1.0,\"lr\":0.0001}\n");
  ASSERT_GT(std::filesystem::file_size(folder_.path() / "trainer_log.jsonl"), 1U << 17);
  EXPECT_EQ(read_progress(folder_.path())->step, 3000);
}

TEST_F(TrainingProgressTest, TellsHowATrainingEnded) {
  const auto results = [&](const std::string& text) {
    std::ofstream(folder_.path() / "train_results.json") << text;
    return read_training_end(folder_.path());
  };
  const TrainingEnd early = results(
      R"({"finished": true, "stopped_early": true, "steps": 3, "total_steps": 9, "dev_metric": "macro-f1",
          "best_dev_metric": 0.5, "best_step": 1})");
  EXPECT_TRUE(early.finished && early.stopped_early);
  EXPECT_EQ(early.dev_metric, DevMetric::macro_f1);
  EXPECT_EQ(early.dev, 0.5);
  EXPECT_EQ(early.total_steps, 9);
  EXPECT_EQ(early.best_step, 1);
  EXPECT_EQ(results(R"({"finished": true, "best_dev_metric": 0.5})").dev_metric, DevMetric::weighted_f1);
  EXPECT_EQ(results(R"({"finished": true, "best_dev_metric": -1.5})").dev_metric, DevMetric::loss);
  EXPECT_EQ(results(R"({"finished": true})").dev_metric, DevMetric::automatic);
  EXPECT_TRUE(test::holds(
      test::message_of<DataError>([&] { results(R"({"dev_metric": "bleu", "best_dev_metric": 0.5})"); }),
      "train_results.json: field 'dev_metric' is 'bleu', which is no metric of dev"));
}

TEST_F(TrainingProgressTest, PassesOverWhatIsNoStep) {
  log("[1]\nnull\n{\"loss\":1.0}\n{\"eval_weighted_f1\":0.5}\n");
  EXPECT_FALSE(read_progress(folder_.path()));
  log("{\"current_steps\":2,\"total_steps\":4,\"loss\":null}\n");
  EXPECT_TRUE(std::isnan(read_progress(folder_.path())->loss));
}

}  // namespace
}  // namespace chorus
