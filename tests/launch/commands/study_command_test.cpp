// A study of a tiny base on a sample corpus, and what evaluate writes on the way.

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "tests/launch/shared_folder.h"

namespace chorus {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::string_view study = R"({
  "name": "tiny", "title": "A tiny study", "source": "nowhere", "corpora": ["meld", "emorynlp"], "seeds": [1, 2],
  "prepare": {"recipe": "shared", "history": 2},
  "train": {"max-steps": 2, "lora-rank": 2, "threads": 1, "eval-steps": 0},
  "evaluate": {"threads": 1},
  "published_base": "llama2",
  "rows": [
    {"name": "base", "train": false},
    {"name": "staged", "title": "two stages", "published": {"llama2": {"meld": 65.91}},
     "stages": [{"prepare": {"recipe": "shared", "history": 0}, "train": {"max-steps": 1}}]},
    {"name": "broken", "train": {"tokens-per-microbatch": 8}}
  ]
})";

class StudyCommand : public SharedFolderTest<StudyCommand> {
 public:
  static void fill() {
    write_tiny_base(folder());
    write_text(at("tiny.json"), std::string(study));
  }

 protected:
  static Outcome run_study(const std::string& output, const std::vector<std::string>& more = {}) {
    return run_chorus(joined({"study", at("tiny.json"), "--base", at("base"), "--corpus",
                              "meld=" + at("corpus"), "--output", at(output)},
                             more));
  }
};

TEST_F(StudyCommand, RunsAllRowsRecordsFailuresAndGoesOnWhereItStopped) {
  const Outcome first = run_study("study");
  EXPECT_EQ(first.exit_code, static_cast<int>(ExitCode::configuration)) << first.out << first.err;
  EXPECT_THAT(first.out, HasSubstr("left out: emorynlp: no --corpus emorynlp=DIR is given"));
  EXPECT_THAT(first.out, HasSubstr("job 1/13 | data/meld-shared-"));
  EXPECT_THAT(first.out, HasSubstr("| runs/broken/meld/seed-1/train | FAILED with exit code 2"));
  EXPECT_THAT(first.out, HasSubstr("chorus train: error: "));
  EXPECT_THAT(first.out, HasSubstr("not run: runs/broken/meld/seed-1/train is missing"));
  EXPECT_THAT(first.out, HasSubstr("2 of 13 jobs failed"));
  const auto table = nlohmann::json::parse(read_text(at("study/table.json")));
  EXPECT_EQ(table["rows"][0]["ours"]["meld"]["count"], 1);
  EXPECT_EQ(table["rows"][1]["ours"]["meld"]["count"], 2);
  EXPECT_FALSE(table["rows"][2].contains("ours"));
  EXPECT_THAT(read_text(at("study/table.md")), HasSubstr("| two stages | 65.91 | "));
  EXPECT_THAT(read_text(at("study/runs/broken/meld/seed-1/train/job.json")), HasSubstr("\"exit_code\": 2"));

  // What is done stays; a job whose record is gone was stopped, and is done anew.
  const std::string kept = at("study/runs/staged/meld/seed-1/train/output/train_results.json");
  const std::string before = read_text(kept);
  std::filesystem::remove(at("study/runs/staged/meld/seed-2/evaluate/job.json"));
  const Outcome second = run_study("study", {"--rows", "staged"});
  EXPECT_EQ(second.exit_code, 0) << second.out << second.err;
  EXPECT_THAT(second.out, HasSubstr("runs/staged/meld/seed-1/train | done before"));
  EXPECT_THAT(second.out, HasSubstr("runs/staged/meld/seed-2/evaluate | done in"));
  EXPECT_THAT(second.out, Not(HasSubstr("broken/")));
  EXPECT_EQ(read_text(kept), before);
  // The table still holds the row that was not asked for again.
  EXPECT_EQ(nlohmann::json::parse(read_text(at("study/table.json")))["rows"][0]["ours"]["meld"]["count"], 1);

  const Outcome other = run_study("study", {"--rows", "staged", "--train-options", "--learning-rate 1e-3"});
  EXPECT_EQ(other.exit_code, static_cast<int>(ExitCode::configuration));
  EXPECT_THAT(other.err, HasSubstr("holds the result of another command"));
}

TEST_F(StudyCommand, DryRunListsCommandsAndWritesNothing) {
  const Outcome outcome = run_study("dry", {"--dry-run", "--seeds", "7", "--launcher",
                                            "mpirun --bind-to 'none' -n 2", "--train-options", "--epochs 1"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("chorus prepare " + at("corpus") + " --corpus meld"));
  EXPECT_THAT(outcome.out, HasSubstr("\nmpirun --bind-to none -n 2 "));
  EXPECT_THAT(outcome.out, HasSubstr(" --seed 7 --epochs 1 --eval-steps 0"));
  EXPECT_FALSE(std::filesystem::exists(at("dry")));
}

TEST_F(StudyCommand, RefusesWhatItCannotUse) {
  EXPECT_THAT(run_study("x", {"--rows", "stagd"}).err, HasSubstr("did you mean 'staged'?"));
  EXPECT_THAT(run_study("x", {"--seeds", "one"}).err, HasSubstr("--seeds: 'one' is no whole number"));
  EXPECT_THAT(run_study("x", {"--corpus", "emorynlp=/none"}).err,
              HasSubstr("there is no such file or folder"));
  EXPECT_THAT(run_study("corpus").err, HasSubstr("exists and is not empty"));
}

TEST_F(StudyCommand, EvaluateWritesPredictionsAndScoresWithoutListedUtterances) {
  run_successfully({"prepare", at("corpus"), "--base", at("base"), "--output", at("data")});
  const std::vector<std::string> arguments{"evaluate", "--base",        at("base"),
                                           "--data",   at("data"),      "--threads",
                                           "1",        "--predictions", at("predictions.jsonl")};
  run_successfully(arguments);
  const std::string predictions = read_text(at("predictions.jsonl"));
  EXPECT_THAT(predictions, HasSubstr(R"({"corpus":"meld","split":"test","dialogue":")"));
  EXPECT_THAT(run_chorus(arguments).err, HasSubstr("predictions.jsonl exists already"));
  EXPECT_THAT(run_successfully({"score", at("predictions.jsonl")}), HasSubstr("weighted F1"));

  write_text(at("list.jsonl"), predictions.substr(0, predictions.find('\n') + 1));
  const std::string out =
      run_successfully({"evaluate", "--base", at("base"), "--data", at("data"), "--threads", "1", "--exclude",
                        at("list.jsonl"), "--output", at("scores")});
  EXPECT_THAT(out, HasSubstr("without the 1 utterances that"));
  const auto json = nlohmann::json::parse(read_text(at("scores/eval_results.json")));
  const auto& result = json["results"]["base"];
  EXPECT_EQ(result["count"].get<int>(), result["without_excluded"]["count"].get<int>() + 1);
  EXPECT_EQ(json["excluded"]["removed"], 1);
  EXPECT_EQ(read_text(at("scores/predictions.jsonl")), predictions);
}

}  // namespace
}  // namespace chorus
