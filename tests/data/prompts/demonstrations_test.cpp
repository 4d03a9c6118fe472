#include "data/prompts/demonstrations.h"

#include <cmath>

#include "tests/data/scratch.h"

namespace chorus {
namespace {

class DemonstrationsTest : public testing::Test {
 protected:
  // All lines of these dialogues but the first, which is asked about.
  std::vector<Line> pool() const {
    std::vector<Line> lines;
    for (std::size_t d = 1; d < dialogues_.size(); ++d) {
      for (std::size_t turn = 0; turn < dialogues_[d].utterances.size(); ++turn)
        lines.push_back({&dialogues_[d], turn});
    }
    return lines;
  }
  std::vector<std::string> found(const DemonstrationOptions& options, const Line& line, bool training,
                                 const EmbedTexts& embed = {}) const {
    std::vector<std::string> texts;
    for (const Line& example :
         Demonstrations(options, pool(), {line.utterance().text}, embed).find(line, training))
      texts.push_back(example.utterance().text);
    return texts;
  }
  Line asked() const { return {&dialogues_[0], 0}; }

  std::vector<Dialogue> dialogues_{
      {"0", {{"0", "A", "What a lovely day, Mia!", "joy", 1}}},
      {"1", {{"0", "A", "Such a lovely lovely day.", "joy", 1}, {"1", "B", "I hate this day.", "anger", 2}}},
      {"2", {{"0", "A", "The train is late.", "neutral", 3}, {"1", "C", "A lovely day for you", "anger", 4}}},
      {"3",
       {{"0", "A", "What?", "neutral", 5}, {"1", "A", "Hello.", "joy", 6}, {"2", "A", "Hi.", "neutral", 7}}}};
};

TEST_F(DemonstrationsTest, Bm25PutsTheMostSimilarLast) {
  EXPECT_EQ(found({.count = 2}, asked(), true),
            (std::vector<std::string>{"A lovely day for you", "Such a lovely lovely day."}));
  EXPECT_EQ(found({.count = 1}, asked(), false), (std::vector<std::string>{"Such a lovely lovely day."}));
  EXPECT_EQ(found({.count = 50}, asked(), false).size(), 7U) << "fewer than asked for";
}

// Three texts, worked out by hand: idf = ln(1 + (N - n + 0.5) / (n + 0.5)), N = 3, mean length 2.
TEST_F(DemonstrationsTest, Bm25IsItsFormula) {
  const std::vector<std::string> texts{"a b", "A a a", "c"};
  const std::vector<float> scores = make_bm25(texts)->to("a c, d");
  const double idf_a = std::log(1 + 1.5 / 2.5), idf_c = std::log(1 + 2.5 / 1.5);
  EXPECT_NEAR(scores[0], idf_a * 1 * 2.2 / (1 + 1.2), 1e-6);
  EXPECT_NEAR(scores[1], idf_a * 3 * 2.2 / (3 + 1.2 * (0.25 + 0.75 * 1.5)), 1e-6);
  EXPECT_NEAR(scores[2], idf_c * 1 * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 0.5)), 1e-6);
}

TEST_F(DemonstrationsTest, NeverTakesFromTheSameDialogue) {
  const Line inside{&dialogues_[1], 0};
  for (const Retrieval retrieval : {Retrieval::bm25, Retrieval::fixed}) {
    const auto texts = found({.count = 10, .retrieval = retrieval}, inside, true);
    EXPECT_EQ(texts.size(), 5U);
    for (const std::string& text : texts) {
      EXPECT_NE(text, "Such a lovely lovely day.");
      EXPECT_NE(text, "I hate this day.");
    }
  }
}

TEST_F(DemonstrationsTest, TheSameLabelOnlyInTraining) {
  const DemonstrationOptions options{.count = 2, .labels = DemonstrationLabels::same_in_training};
  EXPECT_EQ(found(options, asked(), true), (std::vector<std::string>{"Hello.", "Such a lovely lovely day."}));
  EXPECT_EQ(found(options, asked(), false), found({.count = 2}, asked(), false));
}

TEST_F(DemonstrationsTest, CosineOfGivenVectors) {
  std::vector<std::string> asked_for;
  const EmbedTexts embed = [&](std::span<const std::string> texts) {
    asked_for.assign(texts.begin(), texts.end());
    std::vector<float> vectors;
    for (const std::string& text : texts) {  // by length alone: the nearest is the most similar
      const float angle = static_cast<float>(text.size()) / 30;
      for (const float x : {3 * std::cos(angle), 3 * std::sin(angle)}) vectors.push_back(x);
    }
    return vectors;
  };
  // The asked line has 23 bytes.
  EXPECT_EQ(found({.count = 2, .retrieval = Retrieval::embedding}, asked(), true, embed),
            (std::vector<std::string>{"A lovely day for you", "Such a lovely lovely day."}));
  EXPECT_EQ(asked_for.size(), 8U) << "each text once";
  expect_contains(message_of<ConfigurationError>(
                      [&] { found({.count = 1, .retrieval = Retrieval::embedding}, asked(), true); }),
                  "needs a base");
}

TEST_F(DemonstrationsTest, FixedOnesAreTheSameForAll) {
  const DemonstrationOptions options{.count = 1, .retrieval = Retrieval::fixed, .seed = 5};
  const Demonstrations demonstrations(options, pool(), {}, {});
  const auto texts = [&](const Line& line) {
    std::vector<const Utterance*> lines;
    for (const Line& example : demonstrations.find(line, true)) lines.push_back(&example.utterance());
    return lines;
  };
  const auto first = texts(asked());
  ASSERT_EQ(first.size(), 3U) << "one of each label";
  std::set<std::string> labels;
  for (const Utterance* line : first) labels.insert(line->label);
  EXPECT_EQ(labels.size(), 3U);
  const Dialogue other{"9", {{"0", "B", "Something else.", "neutral", 1}}};
  EXPECT_EQ(texts({&other, 0}), first);
}

TEST_F(DemonstrationsTest, ABalancedPoolHasAsManyOfEachLabel) {
  EXPECT_EQ(Demonstrations({.count = 1}, pool(), {}, {}).pool_size(), 7);
  EXPECT_EQ(Demonstrations({.count = 1, .balanced = true}, pool(), {}, {}).pool_size(), 6) << "two of each";
  expect_contains(message_of<DataError>([&] { Demonstrations({.count = 1}, {}, {}, {}); }),
                  "needs a train split");
}

}  // namespace
}  // namespace chorus
