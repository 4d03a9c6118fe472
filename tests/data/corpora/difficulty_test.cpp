#include "data/corpora/difficulty.h"

#include <cmath>
#include <fstream>
#include <numbers>

#include <gmock/gmock.h>

#include "ops/base/error.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using testing::HasSubstr;

Dialogue dialogue(const std::vector<std::pair<std::string, std::string>>& speakers_and_labels) {
  Dialogue dialogue;
  for (const auto& [speaker, label] : speakers_and_labels)
    dialogue.utterances.push_back({"", speaker, "", label});
  return dialogue;
}

double cosine(double degrees) { return std::cos(degrees * std::numbers::pi / 180); }

TEST(EmotionWheel, ComparesLabelsByTheirAngle) {
  const EmotionWheel wheel;
  EXPECT_NEAR(wheel.similarity("joy", "Excited", 7), cosine(36), 1e-12);
  EXPECT_NEAR(wheel.similarity("fear", "disgust", 7), cosine(18), 1e-12);
  EXPECT_NEAR(wheel.similarity("anger", "sadness", 7), 0, 1e-12) << "162 degrees apart on the left";
  EXPECT_EQ(wheel.similarity("surprise", "anger", 7), 0) << "18 degrees apart, of opposite valence";
  EXPECT_NEAR(wheel.similarity("neutral", "anger", 7), 1.0 / 7, 1e-12);
  EXPECT_NEAR(wheel.similarity("sad", "neutral", 6), 1.0 / 6, 1e-12);
}

TEST(EmotionWheel, KnowsTheLabelsOfTheCorpora) {
  for (const std::vector<std::string>& labels : std::vector<std::vector<std::string>>{
           {"neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"},
           {"Joyful", "Mad", "Peaceful", "Neutral", "Sad", "Powerful", "Scared"},
           {"happy", "sad", "neutral", "angry", "excited", "frustrated"},
           {"no_emotion", "anger", "disgust", "fear", "happiness", "sadness", "surprise"}})
    EXPECT_NO_THROW(EmotionWheel().require_labels(labels));
  EXPECT_THAT(test::message_of<ConfigurationError>([] {
                EmotionWheel().require_labels({"joy", "bored"});
              }),
              HasSubstr("where does 'bored' stand"));
}

TEST(EmotionWheel, IsReadFromAFile) {
  const test::ScratchFolder scratch;
  const auto written = [&](const std::string& text) {
    std::ofstream(scratch / "wheel.json") << text;
    return scratch / "wheel.json";
  };
  const EmotionWheel wheel(
      written(R"({"calm": 300, "Bored": 220, "nothing": null, "glad": 30, "awake": 90})"));
  EXPECT_NEAR(wheel.similarity("calm", "glad", 4), 0, 1e-12);
  EXPECT_NEAR(wheel.similarity("bored", "nothing", 4), 0.25, 1e-12);
  EXPECT_NEAR(wheel.similarity("awake", "glad", 4), 0.25, 1e-12) << "neither right nor left";
  EXPECT_THAT(test::message_of<ConfigurationError>([&] { wheel.require_labels({"joy"}); }),
              HasSubstr("wheel.json does not say it"));
  for (const char* wrong : {"[]", "{}", R"({"joy": "up"})", R"({"joy": [1]})"})
    EXPECT_THROW(EmotionWheel(written(wrong)), DataError) << wrong;
}

// By equations 2 to 5 of PRC-Emo.
TEST(Difficulty, CountsChangesOfASpeakerAndBetweenTwo) {
  const EmotionWheel wheel;
  EXPECT_NEAR(difficulty(dialogue({{"A", "joy"}, {"B", "joy"}, {"A", "joy"}}), wheel, 7), 2.0 / 5, 1e-12)
      << "nothing changes";
  // A: joy to anger (0.4 + 0), B none; between: joy to neutral, neutral to anger (0.4 + 1/7 each).
  EXPECT_NEAR(difficulty(dialogue({{"A", "joy"}, {"B", "neutral"}, {"A", "anger"}}), wheel, 7),
              (0.4 + 2 * (0.4 + 1.0 / 7) + 2) / 5, 1e-12);
  // A speaker's own next line counts once.
  EXPECT_NEAR(difficulty(dialogue({{"A", "fear"}, {"A", "disgust"}}), wheel, 7), (0.4 + cosine(18) + 1) / 3,
              1e-12);
  EXPECT_NEAR(difficulty(dialogue({{"A", "joy"}, {"A", ""}, {"B", "anger"}, {"A", "sadness"}}), wheel, 7),
              (0.4 + 2) / 6, 1e-12)
      << "a line without a label changes nothing, and no change goes over it";
}

}  // namespace
}  // namespace chorus
