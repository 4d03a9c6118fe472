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

AnsweredUtterance answered(const std::string& corpus, const std::string& id, const std::string& gold,
                           const std::string& predicted) {
  return {.key = {corpus, "test", "0", id},
          .speaker = "",
          .text = "",
          .gold = gold,
          .predicted = predicted,
          .scores = {},
          .answer = std::nullopt,
          .found = true};
}

std::vector<AnsweredSplit> mixed() {
  return {{"base",
           {answered("meld", "0", "joy", "joy"), answered("meld", "1", "sad", "joy"),
            answered("emorynlp", "0", "mad", "mad")}}};
}

const std::vector<std::string> labels{"joy", "sad", "mad"};

TEST(EvaluationReport, TellsCorporaApart) {
  const EvaluationReport report(labels, mixed(), "");
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
  const EvaluationReport report(labels, {{"base", {answered("meld", "0", "joy", "joy")}}}, "");
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
  const EvaluationReport report(labels, mixed(), folder / "list.jsonl");
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
  const std::vector<AnsweredSplit> one{{"base", {answered("meld", "0", "joy", "joy")}}};
  EXPECT_THROW(EvaluationReport(labels, one, folder / "list.jsonl"), DataError);
}

TEST(EvaluationReport, CountsWhatIsPredictedWhereNothingCanBeScored) {
  const EvaluationReport report(
      labels,
      {{"base",
        {answered("own", "0", "", "joy"), answered("own", "1", "", "mad"), answered("own", "2", "", "joy")}}},
      "");
  EXPECT_EQ(report.to_json().dump(), R"({"predicted":{"base":{"joy":2,"sad":0,"mad":1}}})");
  EXPECT_THAT(report.to_text(), HasSubstr("there are no gold labels, so nothing is scored"));
  EXPECT_THAT(report.to_text(), HasSubstr("joy                                  2\n"));
  EXPECT_THAT(report.to_text(), Not(HasSubstr("F1")));
}

}  // namespace
}  // namespace chorus
