#include "core/scoring/dev_metric.h"

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/core/tiny_base.h"
#include "tests/support/message_of.h"

namespace chorus {
namespace {

// Two utterances of two labels, each with both as candidates; or as many samples about no utterance.
Dataset dev_split(bool labelled) {
  DatasetOrigin origin;
  origin.corpora = {"invented"};
  origin.split = "dev";
  origin.vocabulary_size = 9;
  origin.labels = origin.label_words = {"joy", "anger"};
  DatasetBuilder builder(origin);
  for (std::int32_t dialogue = 0; dialogue < 2; ++dialogue) {
    const std::int32_t utterance =
        labelled ? builder.add_utterance({0, std::to_string(dialogue), "0", "", "", dialogue}) : -1;
    std::vector<GroupSample> samples;
    for (std::int32_t label = 0; label < 2; ++label)
      samples.push_back({{{1, 2 + label}, {unsupervised, 2 + label}}, utterance, labelled ? label : -1});
    builder.add_group(samples, "here");
  }
  return builder.finish();
}

TEST(DevMetric, IsWhatTheSplitCanGive) {
  const Dataset dev = dev_split(true), texts = dev_split(false);
  EXPECT_EQ(resolve(DevMetric::automatic, dev), DevMetric::weighted_f1);
  EXPECT_EQ(resolve(DevMetric::macro_f1, dev), DevMetric::macro_f1);
  EXPECT_EQ(resolve(DevMetric::automatic, texts), DevMetric::loss);
  EXPECT_EQ(resolve(DevMetric::loss, texts), DevMetric::loss);
  EXPECT_TRUE(test::holds(test::message_of<ConfigurationError>([&] { resolve(DevMetric::accuracy, texts); }),
                          "--dev-metric accuracy compares labels"));
}

// Three of four right, all of the rare label wrong.
TEST(DevMetric, TheLargerIsTheBetter) {
  Evaluation evaluation;
  evaluation.labels = {"joy", "anger"};
  evaluation.loss = 1.5;
  evaluation.predictions = {{0, 0}, {0, 0}, {0, 0}, {1, 0}};
  EXPECT_DOUBLE_EQ(score_of(DevMetric::loss, evaluation), -1.5);
  EXPECT_DOUBLE_EQ(score_of(DevMetric::accuracy, evaluation), 0.75);
  EXPECT_DOUBLE_EQ(score_of(DevMetric::macro_f1, evaluation), 3.0 / 7);
  EXPECT_DOUBLE_EQ(score_of(DevMetric::weighted_f1, evaluation), 6.0 / 7 * 0.75);
}

TEST(DevMetric, IsCalledByOneNameAndPrintedInItsUnit) {
  for (const DevMetric metric : {DevMetric::automatic, DevMetric::loss, DevMetric::accuracy,
                                 DevMetric::weighted_f1, DevMetric::macro_f1})
    EXPECT_EQ(find_dev_metric(name(metric)), metric);
  EXPECT_FALSE(find_dev_metric("f1"));
  EXPECT_EQ(print_score(DevMetric::weighted_f1, 0.54654), "54.65");
  EXPECT_EQ(print_score(DevMetric::loss, -1.53926), "1.5393");
}

}  // namespace
}  // namespace chorus
