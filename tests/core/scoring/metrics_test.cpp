#include "core/scoring/metrics.h"

#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using test::holds;
using test::message_of;

const std::vector<std::string> emotions{"neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"};

std::vector<Prediction> paired(const std::vector<std::int32_t>& gold,
                               const std::vector<std::int32_t>& predicted) {
  std::vector<Prediction> pairs;
  for (std::size_t i = 0; i < gold.size(); ++i) pairs.push_back({gold[i], predicted[i]});
  return pairs;
}

// Random labels; the expected scores are those of scikit-learn 1.9.1 with labels=range(7), zero_division=0.
Scores sixty_predictions() {
  return {emotions,
          paired({0, 0, 3, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 4, 0, 0, 3, 6, 1, 0, 6, 0, 5, 0, 0, 0, 0, 4, 0, 1,
                  3, 0, 1, 0, 0, 0, 3, 0, 0, 1, 0, 0, 4, 4, 0, 1, 1, 6, 4, 0, 6, 0, 0, 4, 0, 1, 0, 3, 4, 1},
                 {3, 0, 3, 0, 0, 3, 0, 0, 3, 4, 0, 0, 0, 3, 0, 0, 3, 1, 4, 0, 0, 0, 5, 0, 0, 0, 4, 4, 1, 1,
                  3, 0, 1, 3, 0, 0, 3, 3, 6, 0, 0, 6, 4, 4, 0, 0, 1, 4, 4, 0, 6, 0, 0, 4, 0, 1, 6, 3, 3, 4})};
}

TEST(Scores, AgreeWithScikitLearn) {
  const Scores scores = sixty_predictions();
  EXPECT_DOUBLE_EQ(scores.accuracy(), 0.6333333333333333);
  EXPECT_DOUBLE_EQ(scores.weighted_f1(), 0.6376470588235293);
  EXPECT_DOUBLE_EQ(scores.macro_f1(), 0.5228291316526611);
  const Scores::Class expected[] = {{0.8148148148148148, 0.6666666666666666, 0.7333333333333333, 33, 27},
                                    {0.6666666666666666, 0.4, 0.5, 10, 6},
                                    {0, 0, 0, 0, 0},
                                    {0.4166666666666667, 1, 0.5882352941176471, 5, 12},
                                    {0.5, 0.7142857142857143, 0.5882352941176471, 7, 10},
                                    {1, 1, 1, 1, 1},
                                    {0.25, 0.25, 0.25, 4, 4}};
  for (std::size_t i = 0; i < emotions.size(); ++i) {
    const auto& found = scores.classes()[i];
    EXPECT_DOUBLE_EQ(found.precision, expected[i].precision) << emotions[i];
    EXPECT_DOUBLE_EQ(found.recall, expected[i].recall) << emotions[i];
    EXPECT_DOUBLE_EQ(found.f1, expected[i].f1) << emotions[i];
    EXPECT_EQ(found.support, expected[i].support) << emotions[i];
    EXPECT_EQ(found.predicted, expected[i].predicted) << emotions[i];
  }
  const std::int64_t matrix[7][7] = {{22, 1, 0, 5, 2, 0, 3}, {4, 4, 0, 0, 2, 0, 0}, {0, 0, 0, 0, 0, 0, 0},
                                     {0, 0, 0, 5, 0, 0, 0},  {0, 0, 0, 2, 5, 0, 0}, {0, 0, 0, 0, 0, 1, 0},
                                     {1, 1, 0, 0, 1, 0, 1}};
  for (std::size_t gold = 0; gold < 7; ++gold) {
    for (std::size_t predicted = 0; predicted < 7; ++predicted) {
      EXPECT_EQ(scores.confusion(gold, predicted), matrix[gold][predicted]) << gold << " " << predicted;
    }
  }
}

TEST(Scores, OfNothingAreZero) {
  const Scores scores(emotions, {});
  EXPECT_EQ(scores.accuracy(), 0);
  EXPECT_EQ(scores.weighted_f1(), 0);
  EXPECT_EQ(scores.macro_f1(), 0);
  EXPECT_EQ(scores.count(), 0);
}

TEST(Scores, CountMisses) {
  const Prediction predictions[] = {{0, 0, true}, {1, 1, false}, {2, 0, false}};
  const Scores scores(emotions, predictions);
  EXPECT_EQ(scores.misses(), 2);
  EXPECT_EQ(scores.count(), 3);
  EXPECT_TRUE(holds(scores.to_table(), "2 of 3 answers held no label"));
}

// As scikit-learn has it where a prediction is none of the `labels`: missed by its gold label, and in no column.
TEST(Scores, AnswersWithoutALabelAreWrongForEveryLabel) {
  const Prediction predictions[] = {{0, 0}, {0, no_label, false}, {1, 1}, {1, 0}};
  const Scores scores(emotions, predictions);
  EXPECT_EQ(scores.unmatched(), 1);
  EXPECT_EQ(scores.misses(), 1);
  EXPECT_EQ(scores.count(), 4);
  EXPECT_DOUBLE_EQ(scores.accuracy(), 0.5);
  EXPECT_EQ(scores.classes()[0].support, 2);
  EXPECT_EQ(scores.classes()[0].predicted, 2);
  EXPECT_DOUBLE_EQ(scores.weighted_f1(), (2 * 0.5 + 2 * (2.0 / 3)) / 4);
  EXPECT_EQ(scores.confusion(0, 0) + scores.confusion(1, 0) + scores.confusion(1, 1), 3);
  EXPECT_EQ(scores.to_json()["unmatched"], 1);
  EXPECT_TRUE(holds(scores.to_table(), "1 of 4 answers held no label; 1 of them are wrong for every label"));
}

TEST(Scores, RefuseAnIndexThatIsNoLabel) {
  const Prediction predictions[] = {{0, 7}};
  EXPECT_TRUE(
      holds(message_of<Error>([&] { Scores(emotions, predictions); }), "gold 0 and predicted 7 of 7 labels"));
}

TEST(Scores, AsJson) {
  const auto json = sixty_predictions().to_json();
  EXPECT_DOUBLE_EQ(json["weighted_f1"].get<double>(), 0.6376470588235293);
  EXPECT_EQ(json["count"], 60);
  EXPECT_EQ(json["misses"], 0);
  EXPECT_DOUBLE_EQ(json["classes"]["surprise"]["precision"].get<double>(), 2.0 / 3);
  EXPECT_EQ(json["classes"]["surprise"]["support"], 10);
  EXPECT_EQ(json["confusion"][6], (std::vector<int>{1, 1, 0, 0, 1, 0, 1}));
  EXPECT_EQ(json["labels"], emotions);
}

TEST(Scores, AsTable) {
  const auto table = sixty_predictions().to_table();
  EXPECT_TRUE(holds(table,
                    "label        precision  recall      F1  support  predicted\n"
                    "neutral          81.48   66.67   73.33       33         27\n"
                    "surprise         66.67   40.00   50.00       10          6\n"));
  EXPECT_TRUE(holds(table,
                    "accuracy                         63.33       60\n"
                    "macro F1                         52.28       60\n"
                    "weighted F1                      63.76       60\n"));
  EXPECT_TRUE(holds(table,
                    "             predicted\n"
                    "gold          neutral  surprise      fear   sadness       joy   disgust     anger\n"
                    "neutral            22         1         0         5         2         0         3\n"));
}

TEST(Scores, TableOfNineLongLabelsFitsTheScreen) {
  std::vector<std::string> labels;
  for (char c = 'a'; c < 'j'; ++c) labels.push_back(std::string(1, c) + "-frustration-émue");
  std::vector<Prediction> predictions(12345, Prediction{8, 3});
  std::istringstream table(Scores(labels, predictions).to_table());
  std::string last;
  for (std::string line; std::getline(table, line); last = line) {
    EXPECT_LE(line.size(), 100U + 18)
        << line;  // of each label "é" takes two bytes in the first column or heading
  }
  EXPECT_TRUE(holds(last, "i-frustration-émue        0        0        0    12345        0"));
}

TEST(MajorityBaseline, IsTheKnownNumberOfMeld) {
  std::vector<std::int32_t> gold;
  const std::int32_t counts[] = {1256, 281, 50, 208, 402, 68, 345};
  for (std::int32_t label = 0; label < 7; ++label) {
    gold.insert(gold.end(), static_cast<std::size_t>(counts[label]), label);
  }
  EXPECT_DOUBLE_EQ(majority_baseline(gold), 0.3126849060381001);  // scikit-learn
  EXPECT_DOUBLE_EQ(majority_baseline(std::vector<std::int32_t>{1, 1, 0, 0, 2}), 0.22857142857142856);
  EXPECT_EQ(majority_baseline({}), 0);
  EXPECT_EQ(majority_baseline(std::vector<std::int32_t>{4, 4}), 1);
}

}  // namespace
}  // namespace chorus
