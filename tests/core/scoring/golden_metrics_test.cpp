// Against scikit-learn: tests/core/scoring/metrics_golden.py wrote what these scores must be.

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/scoring/metrics.h"
#include "data/text/json.h"

namespace chorus {
namespace {

constexpr double bound = 1e-12;

nlohmann::json golden() {
  return read_json_file(CHORUS_SOURCE_DIR "/tests/core/scoring/metrics_golden.json");
}

Scores scores_of_case(const nlohmann::json& expected) {
  std::vector<std::string> labels;
  for (int i = 0; i < expected["labels"].get<int>(); ++i) labels.push_back("label " + std::to_string(i));
  std::vector<Prediction> predictions;
  for (std::size_t i = 0; i < expected["gold"].size(); ++i)
    predictions.push_back(
        {expected["gold"][i].get<std::int32_t>(), expected["predicted"][i].get<std::int32_t>()});
  return {labels, predictions};
}

TEST(GoldenMetrics, AgreeWithScikitLearn) {
  const auto cases = golden()["scores"];
  ASSERT_GE(cases.size(), 10U);
  for (const auto& expected : cases) {
    SCOPED_TRACE(expected["name"].get<std::string>());
    const Scores scores = scores_of_case(expected);
    EXPECT_NEAR(scores.weighted_f1(), expected["weighted_f1"].get<double>(), bound);
    EXPECT_NEAR(scores.macro_f1(), expected["macro_f1"].get<double>(), bound);
    EXPECT_NEAR(scores.accuracy(), expected["accuracy"].get<double>(), bound);
    for (std::size_t i = 0; i < scores.labels().size(); ++i) {
      const Scores::Class& found = scores.classes()[i];
      EXPECT_NEAR(found.precision, expected["precision"][i].get<double>(), bound) << i;
      EXPECT_NEAR(found.recall, expected["recall"][i].get<double>(), bound) << i;
      EXPECT_NEAR(found.f1, expected["f1"][i].get<double>(), bound) << i;
      EXPECT_EQ(found.support, expected["support"][i].get<std::int64_t>()) << i;
      for (std::size_t j = 0; j < scores.labels().size(); ++j)
        EXPECT_EQ(scores.confusion(i, j), expected["confusion"][i][j].get<std::int64_t>()) << i << " " << j;
    }
  }
}

}  // namespace
}  // namespace chorus
