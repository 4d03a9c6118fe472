#include "data/corpora/label_map.h"

#include "tests/data/scratch.h"

namespace chorus {
namespace {

class LabelMapTest : public testing::Test {
 protected:
  LabelMap load(const std::string& json) {
    return LabelMap::load(folder_.write("map" + std::to_string(files_++) + ".json", json));
  }
  std::string message_for(const std::string& json) {
    return message_of<DataError>([&] { load(json); });
  }
  static Corpus corpus() {
    return {"small",
            {"joy", "rage", "none"},
            {{"train", "f", {{"0", {{"0", "A", "x", "rage", 1}, {"1", "B", "y", "none", 2}}}}}}};
  }

  TemporaryFolder folder_;
  int files_ = 0;
};

TEST_F(LabelMapTest, RenamesLabels) {
  const LabelMap map = load(R"({"name": "m", "labels": ["glad", "mad"], "corpora":
      {"small": {"labels": {"joy": "glad", "rage": "mad", "none": null}, "first_speaker": 4}}})");
  Corpus mapped = corpus();
  map.apply(mapped);
  EXPECT_EQ(mapped.labels, (std::vector<std::string>{"glad", "mad"}));
  EXPECT_EQ(mapped.splits[0].dialogues[0].utterances[0].label, "mad");
  EXPECT_EQ(mapped.splits[0].dialogues[0].utterances[1].label, "") << "context only";
  EXPECT_EQ(map.first_speaker("small"), 4);
  EXPECT_EQ(map.first_speaker("other"), 0);
}

TEST_F(LabelMapTest, MustFitTheCorpus) {
  const auto message = [&](const std::string& labels) {
    const LabelMap map =
        load(R"({"name": "m", "labels": ["glad"], "corpora": {"small": {"labels": {)" + labels + "}}}}");
    return message_of<DataError>([&] {
      Corpus mapped = corpus();
      map.apply(mapped);
    });
  };
  expect_contains(message(R"("joy": "glad", "rage": "glad")"), "what the label 'none' of small becomes");
  expect_contains(message(R"("joy": "glad", "rage": "glad", "none": "glad", "scared": "glad")"),
                  "small has no label 'scared', its labels are joy, rage, none");
  Corpus other = corpus();
  other.name = "other";
  const LabelMap map = load(R"({"name": "m", "labels": ["glad"], "corpora": {"small": {"labels": {}}}})");
  expect_contains(message_of<DataError>([&] { map.apply(other); }), "what the labels of other become");
}

TEST_F(LabelMapTest, NamesWhatIsWrongWithAFile) {
  expect_contains(message_for("["), "is not valid JSON");
  expect_contains(
      message_for(R"({"name": "m", "labels": ["a"], "corpora": {"small": {"labels": {"joy": "b"}}}})"),
      "corpus small: 'joy' becomes 'b', which is none of the labels; did you mean 'a'?");
  expect_contains(message_for(R"({"name": "m", "labels": ["a", "a"], "corpora": {}})"), "stands there twice");
  expect_contains(message_for(R"({"name": "m", "label": ["a"], "corpora": {}})"), "did you mean 'labels'?");
  expect_contains(
      message_for(
          R"({"name": "m", "labels": ["a"], "corpora": {"small": {"labels": {}, "first_speaker": -1}}})"),
      "field 'first_speaker' must be a number from 0, is -1");
}

const std::vector<Corpus> corpora_of_the_papers{
    {"iemocap", {"happy", "sad", "neutral", "angry", "excited", "frustrated"}, {}},
    {"meld", {"neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"}, {}},
    {"emorynlp", {"Joyful", "Mad", "Peaceful", "Neutral", "Sad", "Powerful", "Scared"}, {}}};

TEST_F(LabelMapTest, TheMapOfDialogueLlm) {
  const LabelMap map = LabelMap::load(CHORUS_SOURCE_DIR "/experiments/dialoguellm/labels.json");
  for (Corpus corpus : corpora_of_the_papers) {
    EXPECT_NO_THROW(map.apply(corpus)) << corpus.name;
    EXPECT_EQ(corpus.labels.size(), 11U);
  }
}

// The table that InstructERC prints has two columns of its row for fear exchanged, so that it names labels which these
// corpora have not; the corrected one fits all three.
TEST_F(LabelMapTest, TheMapsOfInstructErc) {
  const std::string folder = CHORUS_SOURCE_DIR "/experiments/instructerc/";
  for (Corpus corpus : corpora_of_the_papers) {
    EXPECT_NO_THROW(LabelMap::load(folder + "labels.json").apply(corpus)) << corpus.name;
    EXPECT_EQ(corpus.labels.size(), 9U);
  }
  Corpus iemocap = corpora_of_the_papers[0];
  expect_contains(
      message_of<DataError>([&] { LabelMap::load(folder + "labels-as-printed.json").apply(iemocap); }),
      "iemocap has no label 'scared'");
}

}  // namespace
}  // namespace chorus
