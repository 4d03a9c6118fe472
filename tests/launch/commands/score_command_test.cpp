// `chorus score` on predictions that are written here.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "tests/launch/json_lines.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;

class ScoreCommand : public testing::Test {
 protected:
  // Utterance i of dialogue 0 has label i % 3, and every `period`-th is answered with another one.
  std::string write(const std::string& name, int period, int count = 60) const {
    std::string lines;
    const std::string labels[] = {"joy", "anger", "neutral"};
    for (int i = 0; i < count; ++i) {
      const std::string& gold = labels[i % 3];
      const std::string& predicted = labels[(i + (i % period == 0 ? 1 : 0)) % 3];
      const nlohmann::json line{
          {"corpus", i < 40 ? "meld" : "emorynlp"}, {"split", "test"}, {"dialogue", "0"},
          {"utterance", fmt::format("{}", i)},      {"gold", gold},    {"predicted", predicted}};
      lines += line.dump() + "\n";
    }
    write_text(folder_ / name, lines);
    return folder_ / name;
  }
  static std::string refusal(const std::vector<std::string>& arguments, ExitCode code) {
    const Outcome outcome = run_chorus(arguments);
    EXPECT_EQ(outcome.exit_code, static_cast<int>(code)) << outcome.out;
    return outcome.err;
  }
  TemporaryFolder folder_;
};

TEST_F(ScoreCommand, PrintsMeansOverSeedsAndTheComparison) {
  const std::string a = write("a.jsonl", 10), b = write("b.jsonl", 8), c = write("c.jsonl", 3);
  const std::vector<std::string> arguments{"score", a, b, "--against", c, "--samples", "2000"};
  const std::string out = run_successfully(arguments);
  EXPECT_THAT(out, HasSubstr("utterances  weighted F1  macro F1  accuracy\n"));
  EXPECT_THAT(out, HasSubstr("\n  meld "));
  EXPECT_THAT(out, HasSubstr("mean ± standard deviation over 2 runs: weighted F1 "));
  EXPECT_THAT(out, HasSubstr("the predictions of all runs together:\nlabel "));
  EXPECT_THAT(out, HasSubstr("difference of mean weighted F1: +"));
  EXPECT_THAT(out, HasSubstr("(2000 paired resamples of the utterances)"));
  EXPECT_EQ(run_successfully(arguments), out);
}

TEST_F(ScoreCommand, AnswersByTheMeanOfScores) {
  const auto write_scores = [&](const std::string& name, const std::vector<nlohmann::json>& scores) {
    std::string lines;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const nlohmann::json line{
          {"corpus", "meld"}, {"split", "test"},    {"dialogue", "0"},    {"utterance", fmt::format("{}", i)},
          {"gold", "joy"},    {"predicted", "joy"}, {"scores", scores[i]}};
      lines += line.dump() + "\n";
    }
    write_text(folder_ / name, lines);
    return std::string(folder_ / name);
  };
  const std::string both = folder_ / "both.jsonl", json = folder_ / "both.json";
  // The second file changes the first answer, agrees with the second, and leaves the third undecided.
  const std::string a = write_scores(
      "a.jsonl", {{{"joy", -1}, {"anger", -2}}, {{"joy", -1}, {"anger", -2}}, {{"joy", -1}, {"anger", -2}}});
  const std::string b = write_scores(
      "b.jsonl",
      {{{"anger", -1}, {"joy", -3}}, {{"anger", -2}, {"joy", -1.5}}, {{"anger", -1}, {"joy", -2}}});
  EXPECT_THAT(run_successfully({"score", a, b, "--combine", both, "--output", json}),
              HasSubstr("by the mean of their scores:\n"));
  const auto answers = read_json_lines(both);
  ASSERT_EQ(answers.size(), 3U);
  EXPECT_EQ(answers[0]["predicted"], "anger");
  EXPECT_EQ(answers[0]["scores"], (nlohmann::json{{"joy", -2}, {"anger", -1.5}}));
  EXPECT_EQ(answers[1]["predicted"], "joy");
  EXPECT_TRUE(answers[2]["predicted"].is_null());
  EXPECT_NEAR(nlohmann::json::parse(read_text(json))["combined"]["runs"][0]["scores"]["accuracy"], 1. / 3,
              1e-12);
  run_successfully({"score", both, "--against", a});
  // Without the undecided one, half of what they say together is right.
  const std::string listed = folder_ / "listed.jsonl", rest = folder_ / "rest.json";
  write_text(listed, R"({"corpus": "meld", "split": "test", "dialogue": "0", "utterance": "2"})");
  run_successfully(
      {"score", a, b, "--combine", folder_ / "again.jsonl", "--exclude", listed, "--output", rest});
  const auto without = nlohmann::json::parse(read_text(rest))["without_excluded"]["scores"];
  EXPECT_EQ(without["combined"]["runs"][0]["scores"]["accuracy"], 0.5);

  EXPECT_THAT(refusal({"score", a, b, "--combine", both}, ExitCode::configuration), HasSubstr("both.jsonl"));
  const std::string others = write_scores(
      "c.jsonl",
      {{{"joy", -1}, {"sadness", -2}}, {{"joy", -1}, {"anger", -2}}, {{"joy", -1}, {"anger", -2}}});
  const std::string never = folder_ / "never.jsonl";
  EXPECT_THAT(refusal({"score", a, others, "--combine", never}, ExitCode::data),
              HasSubstr("c.jsonl scores the label 'sadness' for "));
  EXPECT_THAT(
      refusal({"score", a, write_scores("decoded.jsonl", {nullptr, nullptr, nullptr}), "--combine", never},
              ExitCode::data),
      HasSubstr("evaluate --decode score"));
  EXPECT_FALSE(std::filesystem::exists(never));
}

TEST_F(ScoreCommand, WritesTheNumbers) {
  const std::string a = write("a.jsonl", 10), c = write("c.jsonl", 3), out = folder_ / "scores.json";
  run_successfully({"score", a, "--against", c, "--samples", "500", "--output", out});
  const auto json = nlohmann::json::parse(read_text(out));
  EXPECT_DOUBLE_EQ(json["runs"][0]["scores"]["accuracy"].get<double>(), 0.9);
  EXPECT_EQ(json["runs"][0]["corpora"]["meld"]["count"], 40);
  EXPECT_GT(json["comparison"]["low"], 0);
  EXPECT_LT(json["comparison"]["p_value"], 0.05);
  EXPECT_THAT(refusal({"score", a, "--output", out}, ExitCode::configuration), HasSubstr("exists already"));
}

TEST_F(ScoreCommand, LeavesOutListedUtterances) {
  const std::string a = write("a.jsonl", 10), list = folder_ / "list.jsonl", out = folder_ / "scores.json";
  std::string lines;
  for (const char* utterance : {"0", "10", "999"}) {
    lines += R"({"corpus": "meld", "split": "test", "dialogue": "0", "utterance": ")" +
             std::string(utterance) + "\", \"also_in\": \"train\"}\n";
  }
  write_text(list, lines);
  EXPECT_THAT(run_successfully({"score", a, "--exclude", list, "--output", out}),
              HasSubstr("without the 2 utterances that " + list + " lists, 58 remain; 1 more that"));
  const auto json = nlohmann::json::parse(read_text(out));
  EXPECT_DOUBLE_EQ(json["accuracy"]["mean"].get<double>(), 54.0 / 60);
  EXPECT_DOUBLE_EQ(json["without_excluded"]["scores"]["accuracy"]["mean"].get<double>(), 54.0 / 58);
}

TEST_F(ScoreCommand, RefusesRunsOfOtherUtterances) {
  const std::string a = write("a.jsonl", 10), shorter = write("b.jsonl", 10, 59);
  EXPECT_THAT(refusal({"score", a, "--against", shorter}, ExitCode::data),
              HasSubstr("holds utterance 59 of dialogue 0 (emorynlp, test)"));
  EXPECT_THAT(refusal({"score", folder_ / "none.jsonl"}, ExitCode::data), HasSubstr("none.jsonl"));
}

}  // namespace
}  // namespace chorus
