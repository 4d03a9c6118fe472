#include "experiments/studies/comparison.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "data/text/json.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using test::holds;
using test::message_of;

// tests/core/scoring/metrics_golden.py wrote it with numpy.
nlohmann::json golden() {
  return read_json_file(CHORUS_SOURCE_DIR "/tests/core/scoring/metrics_golden.json");
}

AnsweredRun make_run(const std::string& name, const std::vector<int>& gold,
                     const std::vector<int>& predicted) {
  AnsweredRun run{name, {}};
  for (std::size_t i = 0; i < gold.size(); ++i) {
    run.utterances.push_back({.key = {"meld", "test", "0", std::to_string(i)},
                              .speaker = "",
                              .text = "",
                              .gold = std::to_string(gold[i]),
                              .predicted = std::to_string(predicted[i]),
                              .scores = {},
                              .answer = std::nullopt,
                              .found = true});
  }
  return run;
}

std::vector<AnsweredRun> make_runs(const nlohmann::json& gold, const nlohmann::json& runs) {
  std::vector<AnsweredRun> out;
  for (const auto& run : runs)
    out.push_back(make_run("run " + std::to_string(out.size()), gold.get<std::vector<int>>(),
                           run.get<std::vector<int>>()));
  return out;
}

// No label at all is as wrong as one that never is gold.
TEST(PairedBootstrap, CountsAnswersWithoutALabelAsWrong) {
  const std::vector<int> gold{0, 1, 1, 2, 0, 2};
  const std::vector<AnsweredRun> right{make_run("right", gold, gold)},
      other{make_run("other", gold, {0, 1, 9, 2, 9, 2})};
  std::vector<AnsweredRun> none = other;
  for (AnsweredUtterance& utterance : none[0].utterances) {
    if (utterance.predicted == "9") utterance.predicted = "";
  }
  const PairedBootstrap with_other = paired_bootstrap(right, other, {.samples = 500, .seed = 1}),
                        with_none = paired_bootstrap(right, none, {.samples = 500, .seed = 1});
  EXPECT_GT(with_none.difference, 0);
  EXPECT_EQ(with_none.difference, with_other.difference);
  EXPECT_EQ(with_none.low, with_other.low);
  EXPECT_EQ(with_none.high, with_other.high);
  EXPECT_EQ(score_runs(none).pooled.unmatched(), 2);
}

TEST(Spread, AgreesWithNumpy) {
  const auto file = golden();
  for (const auto& expected : file["spreads"]) {
    const auto values = expected["values"].get<std::vector<double>>();
    const Spread found = spread(values);
    EXPECT_NEAR(found.mean, expected["mean"].get<double>(), 1e-12);
    EXPECT_NEAR(found.deviation, expected["deviation"].get<double>(), 1e-12);
    EXPECT_EQ(found.count, std::ssize(values));
  }
  EXPECT_EQ(spread({}).count, 0);
}

// Two bootstraps of B samples each differ by chance. A quantile's standard error is √(q (1 - q) / B) / density, for
// q = 2.5 % of a normal distribution 0.027 deviations at B = 10,000, the p value's is √(p (1 - p) / B); √2 times that
// between two, and five times that is allowed.
TEST(PairedBootstrap, AgreesWithNumpy) {
  const auto file = golden();
  const auto samples = file["bootstrap_samples"].get<double>();
  for (const auto& expected : file["bootstraps"]) {
    SCOPED_TRACE(expected["name"].get<std::string>());
    const auto runs = make_runs(expected["gold"], expected["runs"]);
    const auto against = make_runs(expected["gold"], expected["against"]);
    const PairedBootstrap found = paired_bootstrap(runs, against, {.samples = 10000, .seed = 1});
    EXPECT_NEAR(found.difference, expected["difference"].get<double>(), 1e-12);
    const double bound = 5 * std::sqrt(2.0) * 0.027 * expected["deviation"].get<double>();
    EXPECT_NEAR(found.low, expected["low"].get<double>(), bound);
    EXPECT_NEAR(found.high, expected["high"].get<double>(), bound);
    const double p = expected["p_value"].get<double>();
    EXPECT_NEAR(found.p_value, p, 5 * std::sqrt(2.0 * p * (1 - p) / samples) + 5 / samples);
  }
}

TEST(PairedBootstrap, IsAFunctionOfTheSeed) {
  const auto expected = golden()["bootstraps"][1];
  const auto runs = make_runs(expected["gold"], expected["runs"]);
  const auto against = make_runs(expected["gold"], expected["against"]);
  const auto with = [&](std::uint64_t seed) {
    return paired_bootstrap(runs, against, {.samples = 500, .seed = seed});
  };
  EXPECT_EQ(with(7).low, with(7).low);
  EXPECT_EQ(with(7).p_value, with(7).p_value);
  EXPECT_NE(with(7).low, with(8).low);
}

TEST(PairedBootstrap, OfEqualRunsSeesNoDifference) {
  const std::vector<AnsweredRun> runs{make_run("a", {0, 1, 1, 2}, {0, 1, 2, 2})};
  const PairedBootstrap found = paired_bootstrap(runs, runs, {.samples = 100, .seed = 1});
  EXPECT_EQ(found.difference, 0);
  EXPECT_EQ(found.low, 0);
  EXPECT_EQ(found.high, 0);
  EXPECT_EQ(found.p_value, 1);
}

TEST(Align, OrderDoesNotMatter) {
  std::vector<AnsweredRun> runs{make_run("a", {0, 1, 2}, {0, 1, 1}), make_run("b", {0, 1, 2}, {2, 2, 2})};
  std::ranges::reverse(runs[1].utterances);
  align(runs);
  for (std::size_t u = 0; u < 3; ++u) EXPECT_EQ(runs[0].utterances[u].key, runs[1].utterances[u].key);
}

TEST(Align, NamesTheFirstThatDiffers) {
  const auto refusal = [](AnsweredRun other) {
    std::vector<AnsweredRun> runs{make_run("a.jsonl", {0, 1, 2}, {0, 1, 1}), std::move(other)};
    return message_of<DataError>([&] { align(runs); });
  };
  EXPECT_TRUE(
      holds(refusal(make_run("b.jsonl", {0, 2, 1}, {0, 0, 0})),
            "the gold label of utterance 1 of dialogue 0 (meld, test) is 1 in a.jsonl and 2 in b.jsonl"));
  EXPECT_TRUE(holds(refusal(make_run("b.jsonl", {0, 1}, {0, 0})),
                    "only one of a.jsonl and b.jsonl holds utterance 2 of dialogue 0 (meld, test): a.jsonl"));
  EXPECT_TRUE(holds(refusal(make_run("b.jsonl", {0, 1, 2, 0}, {0, 0, 0, 0})),
                    "holds utterance 3 of dialogue 0 (meld, test): b.jsonl"));
  AnsweredRun gap = make_run("b.jsonl", {0, 1, 2}, {0, 0, 0});
  gap.utterances.erase(gap.utterances.begin());
  EXPECT_TRUE(holds(refusal(gap), "holds utterance 0 of dialogue 0 (meld, test): a.jsonl"));
}

TEST(ScoreRuns, GivesMeansAndTheScoresOfAllTogether) {
  const std::vector<AnsweredRun> runs{make_run("first", {0, 1}, {0, 1}), make_run("second", {0, 1}, {0, 0})};
  const RunGroup group = score_runs(runs);
  EXPECT_DOUBLE_EQ(group.weighted_f1.mean, (1 + 1.0 / 3) / 2);
  EXPECT_NEAR(group.weighted_f1.deviation, (1 - 1.0 / 3) / std::sqrt(2.0), 1e-12);
  EXPECT_EQ(group.pooled.count(), 4);
  const std::string table = to_table(group);
  EXPECT_TRUE(holds(table, "utterances  weighted F1  macro F1  accuracy"));
  EXPECT_TRUE(holds(table, "mean ± standard deviation over 2 runs: weighted F1 66.67 ± 47.14"));
  EXPECT_EQ(to_json(group)["runs"][1]["name"], "second");
}

TEST(ScoreRuns, TellsCorporaApart) {
  std::vector<AnsweredRun> runs{make_run("mixed", {0, 1, 0}, {0, 1, 1})};
  runs[0].utterances[2].key.corpus = "emorynlp";
  const std::string table = to_table(score_runs(runs));
  EXPECT_TRUE(holds(table, "\n  meld "));
  EXPECT_TRUE(holds(table, "\n  emorynlp "));
}

}  // namespace
}  // namespace chorus
