#include "experiments/studies/study_table.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using test::holds;
using test::message_of;

const Study& example() {
  static const Study study = Study::parse(
      R"({"name": "s", "title": "Windows", "source": "Paper, Table 8", "notes": "Other words.",
          "corpora": ["meld", "emorynlp", "iemocap"], "seeds": [1, 2], "published_base": "llama2",
          "rows": [{"name": "w1", "title": "w = 1", "published": {"llama2": {"meld": 65.91, "emorynlp": 38.3}}},
                   {"name": "w5", "title": "w = 5", "published": {"llama": {"meld": 1}}},
                   {"name": "w12"}]})",
      "s.json", "");
  return study;
}

StudyTable table() {
  return {.study = example(),
          .conditions = {.base = "stories", .parameters = 3148992, .seeds = {1, 2}},
          .scores = {{0, "meld", 1, 0.50, {}}, {0, "meld", 2, 0.52, {}}, {1, "meld", 1, 0.5125, {}}}};
}

TEST(StudyTable, StandsBesideThePublishedOne) {
  EXPECT_EQ(table().to_text(),
            "Windows\n"
            "ours: stories, 3.1 million parameters; seeds 1, 2; published: llama2 (Paper, Table 8)\n"
            "weighted F1 in percent on test, checkpoints chosen on dev: mean ± standard deviation (number of "
            "seeds)\n\n"
            "       meld, published              ours  emorynlp, published  ours\n"
            "w = 1            65.91  51.00 ± 1.41 (2)                38.30     –\n"
            "w = 5                –         51.25 (1)                    –     –\n"
            "w12                  –                 –                    –     –\n"
            "\nOther words.\n");
}

TEST(StudyTable, AsMarkdown) {
  EXPECT_TRUE(holds(table().to_markdown(),
                    "| | meld, published | ours | emorynlp, published | ours |\n"
                    "|---|---:|---:|---:|---:|\n"
                    "| w = 1 | 65.91 | 51.00 ± 1.41 (2) | 38.30 | – |\n"));
}

TEST(StudyTable, ShowsScoresWithoutExcludedUtterances) {
  StudyTable with = table();
  with.scores[2].without_excluded = 0.5;
  EXPECT_TRUE(holds(with.to_markdown(), "| w = 5 | – | 51.25 (1) | 50.00 (1) |"));
}

TEST(StudyTable, TellsHowManyTrainingsEndedEarly) {
  StudyTable with = table();
  EXPECT_EQ(with.to_json()["stopped_early"], 0);
  with.conditions.trainings = 3;
  with.conditions.stopped_early = 2;
  EXPECT_TRUE(holds(with.to_text(), "; seeds 1, 2; 2 of 3 trainings stopped early; published: llama2"));
  EXPECT_EQ(with.to_json()["stopped_early"], 2);
}

TEST(StudyTable, AsJsonHoldsAllSeeds) {
  const auto json = table().to_json();
  const auto& ours = json["rows"][0]["ours"]["meld"];
  EXPECT_DOUBLE_EQ(ours["mean"].get<double>(), 0.51);
  EXPECT_EQ(ours["count"], 2);
  EXPECT_EQ(ours["values"][1]["seed"], 2);
  EXPECT_DOUBLE_EQ(ours["values"][1]["weighted_f1"].get<double>(), 0.52);
  EXPECT_EQ(json["rows"][0]["published"]["llama2"]["meld"], 65.91);
  EXPECT_FALSE(json["rows"][2].contains("ours"));
}

TEST(StudyScore, IsReadFromResults) {
  const auto single = nlohmann::json::parse(
      R"({"results": {"base": {"weighted_f1": 0.1}, "base + adapter": {"weighted_f1": 0.5}}})");
  EXPECT_EQ(read_study_score(single, "r.json", "meld").weighted_f1, 0.5);
  const auto mixed = nlohmann::json::parse(
      R"({"results": {"base": {"weighted_f1": 0.5, "corpora": {"meld": {"weighted_f1": 0.4}},
          "without_excluded": {"weighted_f1": 0.3, "corpora": {"meld": {"weighted_f1": 0.2}}}}}})");
  const StudyScore score = read_study_score(mixed, "r.json", "meld");
  EXPECT_EQ(score.weighted_f1, 0.4);
  EXPECT_EQ(score.without_excluded, 0.2);
  EXPECT_TRUE(holds(message_of<DataError>([&] { read_study_score(mixed, "r.json", "emorynlp"); }),
                    "r.json: holds no weighted F1 of emorynlp"));
  EXPECT_TRUE(
      holds(message_of<DataError>([] { read_study_score(nlohmann::json::object(), "r.json", "meld"); }),
            "r.json: holds no results"));
}

}  // namespace
}  // namespace chorus
