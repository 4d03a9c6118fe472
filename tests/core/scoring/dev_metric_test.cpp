#include "core/scoring/dev_metric.h"

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/core/tiny_base.h"
#include "tests/support/message_of.h"

namespace chorus {
namespace {

// Two utterances of two labels, each with both as candidates.
Dataset labelled() {
  Dataset dev;
  dev.origin.split = "dev";
  dev.origin.labels = {"joy", "anger"};
  for (std::int32_t utterance = 0; utterance < 2; ++utterance) {
    dev.utterances.emplace_back().label = utterance;
    for (std::int32_t label = 0; label < 2; ++label) {
      Sample sample;
      sample.utterance = utterance;
      sample.answer = label;
      dev.samples.push_back(sample);
    }
  }
  return dev;
}

TEST(DevMetric, IsWhatTheSplitCanGive) {
  const Dataset dev = labelled();
  EXPECT_EQ(resolve(DevMetric::automatic, dev), DevMetric::weighted_f1);
  EXPECT_EQ(resolve(DevMetric::macro_f1, dev), DevMetric::macro_f1);
  Dataset texts = dev;
  texts.utterances.clear();
  EXPECT_EQ(resolve(DevMetric::automatic, texts), DevMetric::loss);
  EXPECT_EQ(resolve(DevMetric::loss, texts), DevMetric::loss);
  EXPECT_TRUE(test::holds(test::message_of<ConfigurationError>([&] { resolve(DevMetric::accuracy, texts); }),
                          "--dev-metric accuracy compares labels"));
}

// Three of four right, all of the rare label wrong.
TEST(DevMetric, TheLargerIsTheBetter) {
  const Dataset dev = labelled();
  Evaluation evaluation;
  evaluation.loss = 1.5;
  evaluation.predictions = {{0, 0}, {0, 0}, {0, 0}, {1, 0}};
  EXPECT_DOUBLE_EQ(score_of(DevMetric::loss, evaluation, dev), -1.5);
  EXPECT_DOUBLE_EQ(score_of(DevMetric::accuracy, evaluation, dev), 0.75);
  EXPECT_DOUBLE_EQ(score_of(DevMetric::macro_f1, evaluation, dev), 3.0 / 7);
  EXPECT_DOUBLE_EQ(score_of(DevMetric::weighted_f1, evaluation, dev), 6.0 / 7 * 0.75);
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
