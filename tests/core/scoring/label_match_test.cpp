#include "core/scoring/label_match.h"

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using test::holds;
using test::message_of;

using Labels = std::vector<std::string>;

const Labels meld{"neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"};
const Labels emorynlp{"Joyful", "Mad", "Peaceful", "Neutral", "Sad", "Powerful", "Scared"};

class Matches {
 public:
  explicit Matches(Labels labels, MatchRule rule = MatchRule::words)
      : labels_(std::move(labels)), rule_(rule) {}

  void expect(std::string_view answer, std::int32_t index, bool found) const {
    const LabelMatch match = match_label(answer, labels_, rule_);
    EXPECT_EQ(match.index, index) << answer;
    EXPECT_EQ(match.found, found) << answer;
  }
  void expect_none(std::string_view answer) const { expect(answer, no_label, false); }

 private:
  Labels labels_;
  MatchRule rule_;
};

TEST(MatchLabel, TakesTheFirstLabelFromTheLeft) {
  const Matches matches(meld);
  matches.expect("neutral", 0, true);
  matches.expect("I feel joy, not anger", 4, true);
  matches.expect("anger or joy", 6, true);
}

TEST(MatchLabel, TakesTheLongestAtOnePlace) {
  const Matches matches({"very sad", "very", "sad"});
  matches.expect("very sad", 0, true);
  matches.expect("very, sad", 1, true);
}

TEST(MatchLabel, CaseDoesNotCount) {
  const Matches matches(emorynlp);
  matches.expect("The feeling is mad.", 1, true);
  matches.expect("sad", 4, true);
  matches.expect("PEACEFUL", 2, true);
  // Labels that differ in case alone are told apart where the answer does.
  const Matches alike({"Glad", "glad"});
  alike.expect("glad", 1, true);
  alike.expect("Glad", 0, true);
  alike.expect("GLAD", 0, true);
  const Matches others({"Überrascht", "ярость", "ΛΎΠΗ", "Žal", "điềm tĩnh"});
  others.expect("ÜBERRASCHT!", 0, true);
  others.expect("Это Ярость.", 1, true);
  others.expect("λύπη", 2, true);
  others.expect("žal", 3, true);
  others.expect("ĐIỀM TĨNH", 4, true);
}

TEST(MatchLabel, StandsBetweenTheBordersOfWords) {
  const Matches matches({"happy", "sad", "joy"});
  for (const char* answer : {"unhappy", "enjoyable", "joy_ful", "sad2", "sadé", "sads happyness"})
    matches.expect_none(answer);
  for (const char* answer : {"happy", "(happy)", "so-happy.", "'happy'", "happy, sad"})
    matches.expect(answer, 0, true);
  matches.expect("unhappy, even sad", 1, true);
  matches.expect("caf\xC3 sad", 1, true);  // cut within a character
}

// Nothing sets words apart in Chinese and Japanese, nor endings in Korean.
TEST(MatchLabel, KnowsNoBordersWhereAScriptHasNone) {
  const Matches matches({"喜", "怒", "기쁨"});
  matches.expect("他的情绪是喜悦", 0, true);
  matches.expect("기쁨입니다", 2, true);
  Matches({"joy"}).expect("喜joy", 0, true);
}

TEST(MatchLabel, TakesAMisspelling) {
  const Matches matches(meld);
  matches.expect("surprize", 1, false);
  matches.expect("Suprise.", 1, false);
  matches.expect("\"nuetral\"", no_label, false);  // two letters of seven
  matches.expect("disgusted", no_label, false);
  matches.expect("disgus", 5, false);
  matches.expect("fearr", 2, false);
  Matches({"frustrated"}).expect("frustratet ", 0, false);
  Matches({"frustrated"}).expect("frustation", no_label, false);
}

TEST(MatchLabel, TakesNoGuess) {
  const Matches matches(emorynlp);
  for (const char* answer : {"", " ", "...", "bad", "I cannot tell how they feel", "Jo", "unpeaceful", "ma"})
    matches.expect_none(answer);
  Matches({"interested", "uninterested"}).expect("interested", 0, true);
  Matches({"uninterested"}).expect_none("interested");  // another first letter, though only two edits away
  Matches({"interested"}).expect_none("uninterested");
  Matches({"abcd", "abce"}).expect_none("abcx");  // one edit from both
  Matches({"", "joy"}).expect_none("");
}

TEST(MatchLabelAsInstructErc, ReadsByTheLetterAndInsideOfWords) {
  const Matches matches(meld, MatchRule::instructerc);
  matches.expect("I feel joy, not anger", 4, true);
  matches.expect("enjoyment", 4, true);
  matches.expect("fearr", 2, true);
  const Matches others({"sad", "sadness", "happy"}, MatchRule::instructerc);
  others.expect("sadness", 1, true);
  others.expect("sad and happy", 0, true);
  others.expect("unhappy", 2, true);
}

TEST(MatchLabelAsInstructErc, FallsBackToTheNearest) {
  const Matches matches(meld, MatchRule::instructerc);
  matches.expect("Neutral", 0, false);  // one letter differs
  matches.expect("angry", 6, false);
  matches.expect("surprize", 1, false);
  matches.expect("", 4, false);                                                // the shortest label
  Matches({"abcd", "abce"}, MatchRule::instructerc).expect("abcx", 0, false);  // the earlier of equals
  // Distances in characters: 3 and 2. In bytes both would be 4, and the earlier label would win.
  Matches({"xxx", "oa"}, MatchRule::instructerc).expect("öä", 1, false);
}

TEST(MatchLabel, NeedsLabels) {
  EXPECT_TRUE(holds(message_of<Error>([] { match_label("joy", {}); }), "against no labels"));
}

}  // namespace
}  // namespace chorus
