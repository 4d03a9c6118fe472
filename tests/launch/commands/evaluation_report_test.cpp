#include "launch/commands/evaluation_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;
using testing::Not;

// Utterances of a split, with what was predicted for them.
struct Answered {
  Answered() {
    dataset.origin.corpora = {"meld", "emorynlp"};
    dataset.origin.split = "test";
    evaluation.labels = dataset.origin.labels = {"joy", "sad", "mad"};
  }
  void add(std::int32_t corpus, const std::string& id, std::int32_t gold, std::int32_t predicted) {
    dataset.utterances.push_back({corpus, "0", id, "", "", gold});
    evaluation.predictions.push_back({gold, predicted, true});
  }
  EvaluationReport report(const std::string& exclude) const {
    return {dataset, std::vector<AnsweredSplit>{{"base", evaluation}}, exclude};
  }

  Dataset dataset;
  Evaluation evaluation;
};
constexpr std::int32_t joy = 0, sad = 1, mad = 2, unknown = -1;

Answered mixed() {
  Answered answered;
  answered.add(0, "0", joy, joy);
  answered.add(0, "1", sad, joy);
  answered.add(1, "0", mad, mad);
  return answered;
}

Answered one() {
  Answered answered;
  answered.add(0, "0", joy, joy);
  return answered;
}

TEST(EvaluationReport, TellsCorporaApart) {
  const EvaluationReport report = mixed().report("");
  const auto json = report.to_json();
  const auto& base = json["results"]["base"];
  EXPECT_DOUBLE_EQ(base["accuracy"].get<double>(), 2.0 / 3);
  EXPECT_DOUBLE_EQ(base["corpora"]["meld"]["accuracy"].get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(base["corpora"]["emorynlp"]["macro_f1"].get<double>(), 1);
  EXPECT_FALSE(json.contains("excluded"));
  EXPECT_THAT(report.to_text(), HasSubstr("\n  meld "));
  EXPECT_THAT(report.to_text(), HasSubstr("\n  emorynlp "));
}

TEST(EvaluationReport, OfOneCorpusHasNoLineForIt) {
  const EvaluationReport report = one().report("");
  EXPECT_THAT(report.to_text(), Not(HasSubstr("meld")));
  EXPECT_FALSE(report.to_json()["results"]["base"].contains("corpora"));
}

TEST(EvaluationReport, ScoresWhatRemains) {
  const TemporaryFolder folder;
  write_text(folder / "list.jsonl",
             R"({"corpus": "meld", "split": "test", "dialogue": "0", "utterance": "1", "also_in": "x"})"
             "\n"
             R"({"corpus": "meld", "split": "test", "dialogue": "0", "utterance": "7"})"
             "\n");
  const EvaluationReport report = mixed().report(folder / "list.jsonl");
  const auto json = report.to_json();
  EXPECT_EQ(json["excluded"]["removed"], 1);
  EXPECT_EQ(json["excluded"]["unmatched"], 1);
  const auto& base = json["results"]["base"];
  EXPECT_EQ(base["count"], 3);
  EXPECT_DOUBLE_EQ(base["without_excluded"]["accuracy"].get<double>(), 1);
  EXPECT_DOUBLE_EQ(base["without_excluded"]["corpora"]["meld"]["accuracy"].get<double>(), 1);
  EXPECT_THAT(report.to_text(), HasSubstr("2 remain; 1 more that it lists"));
}

TEST(EvaluationReport, RefusesToLeaveOutEverything) {
  const TemporaryFolder folder;
  write_text(folder / "list.jsonl",
             R"({"corpus": "meld", "split": "test", "dialogue": "0", "utterance": "0"})");
  EXPECT_THROW(one().report(folder / "list.jsonl"), DataError);
}

TEST(EvaluationReport, CountsWhatIsPredictedWhereNothingCanBeScored) {
  Answered answered;
  answered.add(0, "0", unknown, joy);
  answered.add(0, "1", unknown, mad);
  answered.add(0, "2", unknown, joy);
  const EvaluationReport report = answered.report("");
  EXPECT_EQ(report.to_json().dump(), R"({"predicted":{"base":{"joy":2,"sad":0,"mad":1}}})");
  EXPECT_THAT(report.to_text(), HasSubstr("there are no gold labels, so nothing is scored"));
  EXPECT_THAT(report.to_text(), HasSubstr("joy                                  2\n"));
  EXPECT_THAT(report.to_text(), Not(HasSubstr("F1")));
}

}  // namespace
}  // namespace chorus
