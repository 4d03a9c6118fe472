// From nothing to a score by public commands alone, as launch/quickstart.sh goes, but tiny.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;

class MainJob : public testing::Test {
 protected:
  // A base, pre-trained for a few steps, and data prepared for it.
  void prepare() {
    run_successfully({"sample", "--train-dialogues", "12", "--dev-dialogues", "3", "--test-dialogues", "4",
                      "--paragraphs", "150", "--output", corpus});
    run_successfully(
        {"tokenizer", "--vocabulary-size", "420", "--output", tokenizer, corpus + "/pretraining.txt"});
    run_successfully(
        {"init", "--tokenizer", tokenizer, "--hidden-size", "32", "--layers", "2", "--output", untrained});
    run_successfully({"prepare", "--corpus", "text", "--base", untrained, "--context", "64", "--output", text,
                      corpus + "/pretraining.txt"});
    run_successfully({"train", "--method", "full", "--base", untrained, "--data", text, "--max-steps", "4",
                      "--batch-size", "4", "--output", base});
    const std::string ledger =
        run_successfully({"prepare", "--corpus", "meld", "--base", base, "--output", dialogues, corpus});
    EXPECT_THAT(ledger, HasSubstr("train"));
    EXPECT_THAT(ledger, HasSubstr("test"));
  }
  std::vector<std::string> training(const std::string& output) const {
    return {"train", "--base",      base, "--data",   dialogues, "--max-steps",
            "3",     "--lora-rank", "4",  "--output", output};
  }
  void expect_scored_adapter(const std::string& adapter) {
    for (const char* file : {"adapter_model.safetensors", "adapter_config.json", "config.ini",
                             "trainer_log.jsonl", "train_results.json", "environment.json"}) {
      EXPECT_TRUE(std::filesystem::exists(std::filesystem::path(adapter) / file)) << file;
    }
    const std::string scores = adapter + "_scores";
    const std::string table = run_successfully(
        {"evaluate", "--base", base, "--adapter", adapter, "--data", dialogues, "--output", scores});
    EXPECT_THAT(table, HasSubstr("weighted F1"));
    EXPECT_THAT(table, HasSubstr("majority"));
    EXPECT_TRUE(nlohmann::json::accept(read_text(scores + "/eval_results.json")));
    const std::string predictions = read_text(scores + "/predictions.jsonl");
    const std::string rows = read_text(corpus + "/test_sent_emo.csv");
    // Each utterance of the test split once; its file has one more line, the header.
    EXPECT_EQ(std::count(predictions.begin(), predictions.end(), '\n'),
              std::count(rows.begin(), rows.end(), '\n') - 1);
  }

  TemporaryFolder folder;
  const std::string corpus = folder / "corpus", tokenizer = folder / "tokenizer.model",
                    untrained = folder / "untrained", text = folder / "text", base = folder / "base",
                    dialogues = folder / "dialogues";
};

TEST_F(MainJob, EndsInAScoreOnOneRank) {
  prepare();
  if (HasFailure()) return;
  run_successfully(training(folder / "adapter"));
  expect_scored_adapter(folder / "adapter");
  // What was saved repeats the work.
  run_successfully({"prepare", dialogues + "/config.ini", "--output", folder / "dialogues_again"});
  EXPECT_EQ(read_text(dialogues + "/ledger.json"), read_text(folder / "dialogues_again/ledger.json"));
  run_successfully({"train", (folder / "adapter") + "/config.ini", "--output", folder / "again"});
  EXPECT_EQ(read_text(folder / "adapter/adapter_model.safetensors"),
            read_text(folder / "again/adapter_model.safetensors"));
  const Outcome taken = run_chorus(training(folder / "adapter"));
  EXPECT_EQ(taken.exit_code, static_cast<int>(ExitCode::configuration));
  EXPECT_THAT(taken.err, HasSubstr(folder / "adapter"));
}

TEST_F(MainJob, EndsInAScoreOnTwoRanks) {
  if (!has_mpirun()) GTEST_SKIP() << "mpirun is not installed: NO RUN OF TWO PROCESSES WAS TESTED";
  prepare();
  if (HasFailure()) return;
  const std::string log = run_successfully(training(folder / "adapter"), mpirun(2));
  EXPECT_THAT(log, HasSubstr("2 ranks"));
  expect_scored_adapter(folder / "adapter");
}

TEST_F(MainJob, RanksReportAnErrorOnce) {
  if (!has_mpirun()) GTEST_SKIP() << "mpirun is not installed: NO RUN OF TWO PROCESSES WAS TESTED";
  const Outcome outcome =
      run_chorus({"train", "--base", folder / "none", "--data", text, "--output", base}, mpirun(2));
  EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::data)) << outcome.err;
  const std::size_t first = outcome.err.find("error: ");
  ASSERT_NE(first, std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.err.find("error: ", first + 1), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace chorus
