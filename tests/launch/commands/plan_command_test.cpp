#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;

// The bytes that a training says it took stand in its plan.
TEST(PlanCommand, PlansTheMemoryThatATrainingTakes) {
  const TemporaryFolder folder;
  const std::string corpus = folder / "corpus", base = folder / "base", data = folder / "data";
  run_successfully({"sample", "--train-dialogues", "6", "--dev-dialogues", "2", "--test-dialogues", "2",
                    "--paragraphs", "100", "--output", corpus});
  run_successfully(
      {"tokenizer", "--vocabulary-size", "400", "--output", folder / "t.model", corpus + "/pretraining.txt"});
  run_successfully(
      {"init", "--tokenizer", folder / "t.model", "--hidden-size", "32", "--layers", "2", "--output", base});
  run_successfully({"prepare", corpus, "--base", base, "--output", data});
  for (const std::string recompute : {"none", "some"}) {
    const std::vector<std::string> same{"--base",
                                        base,
                                        "--data",
                                        data,
                                        "--lora-rank",
                                        "4",
                                        "--max-steps",
                                        "2",
                                        "--precision",
                                        "bf16",
                                        "--recompute",
                                        recompute,
                                        "--tokens-per-microbatch",
                                        "1024"};
    std::vector<std::string> train{
        "train", "--device", "cpu", "--eval-steps", "0", "--output", folder / ("run" + recompute)};
    std::vector<std::string> plan{"plan", "--ranks", "1,2", "--grids", folder / (recompute + ".json")};
    train.insert(train.end(), same.begin(), same.end());
    plan.insert(plan.end(), same.begin(), same.end());
    run_successfully(train);
    const std::string told = run_successfully(plan);
    EXPECT_THAT(told, HasSubstr("shared prefixes"));
    EXPECT_THAT(told, HasSubstr("cheapest: 1 ranks"));
    const nlohmann::json results =
        nlohmann::json::parse(read_text(folder / ("run" + recompute + "/train_results.json")));
    const nlohmann::json planned = nlohmann::json::parse(read_text(folder / (recompute + ".json")));
    EXPECT_EQ(planned["grids"][0]["planned_bytes"], results["planned_bytes"]);
    EXPECT_EQ(planned["grids"].size(), 3);
    // By the configuration that the training wrote, which is of one tensor rank.
    const std::string again = folder / (recompute + " again.json");
    run_successfully(
        {"plan", folder / ("run" + recompute + "/config.ini"), "--ranks", "1,2", "--grids", again});
    const nlohmann::json configured = nlohmann::json::parse(read_text(again));
    EXPECT_EQ(configured["grids"].size(), 2);
    EXPECT_EQ(configured["grids"][0], planned["grids"][0]);
  }
}

TEST(PlanCommand, NeedsNeitherWeightsNorData) {
  const std::string told = run_successfully({"plan", "--model", "7b", "--machine", "h100", "--ranks", "8"});
  EXPECT_THAT(told, HasSubstr("kept by blocks for backward"));
  EXPECT_THAT(told, HasSubstr("assumed of NVIDIA H100"));
}

TEST(PlanCommand, MeasuresThisMachine) {
  const std::string told = run_successfully({"plan", "--model", "tiny", "--machine", "this", "--precision",
                                             "f32", "--ranks", "1", "--max-steps", "1"});
  EXPECT_THAT(told, HasSubstr("this machine's CPU"));
}

TEST(PlanCommand, RefusesContradictions) {
  const auto refusal = [](const std::vector<std::string>& arguments) {
    const Outcome outcome = run_chorus(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    return outcome.err;
  };
  EXPECT_THAT(refusal({"plan"}), HasSubstr("either by --base FOLDER or by --model"));
  EXPECT_THAT(refusal({"plan", "--model", "7b", "--machine", "h10"}), HasSubstr("did you mean 'h100'"));
  EXPECT_THAT(refusal({"plan", "--model", "7b", "--ranks", "1,two"}), HasSubstr("'two' is not a number"));
  EXPECT_THAT(refusal({"plan", "--model", "7b", "--sequence-length", "5000"}), HasSubstr("4096 positions"));
}

}  // namespace
}  // namespace chorus
