#include "data/corpora/captions.h"

#include "tests/data/scratch.h"

namespace chorus {
namespace {

class CaptionsTest : public testing::Test {
 protected:
  void join(const std::string& lines) {
    join_captions(folder_.write("captions" + std::to_string(files_++) + ".jsonl", lines), corpora_, ledgers_,
                  ledger_);
  }
  std::string message_for(const std::string& lines) {
    return message_of<DataError>([&] { join(lines); });
  }
  const std::string& caption(std::size_t corpus, std::size_t turn) const {
    return corpora_[corpus].splits[0].dialogues[0].utterances[turn].caption;
  }

  TemporaryFolder folder_;
  int files_ = 0;
  std::vector<Corpus> corpora_{
      {"meld", {"joy"}, {{"train", "f", {{"7", {{"0", "A", "x", "joy", 1}, {"3", "B", "y", "joy", 2}}}}}}},
      {"emorynlp",
       {"joy"},
       {{"train", "g", {{"7", {{"0", "A", "x", "joy", 1}, {"3", "B", "y", "joy", 2}}}}}}}};
  std::vector<std::vector<SplitLedger>> ledgers_{{SplitLedger{}}, {SplitLedger{}}};
  Ledger ledger_;
};

TEST_F(CaptionsTest, JoinsThemAndCountsWhatIsMissing) {
  join(R"({"split": "train", "dialogue": "7", "utterance": "3", "text": "Two people laugh."}
{"corpus": "meld", "split": "train", "dialogue": "7", "utterance": "0", "text": "An empty room."}
{"split": "test", "dialogue": "7", "utterance": "3", "text": "Nobody."}
)");
  EXPECT_EQ(caption(0, 0), "An empty room.");
  EXPECT_EQ(caption(0, 1), "Two people laugh.");
  EXPECT_EQ(caption(1, 0), "");
  EXPECT_EQ(caption(1, 1), "Two people laugh.");
  EXPECT_EQ(ledgers_[0][0].notes.at("utterances without a caption"), 0);
  EXPECT_EQ(ledgers_[1][0].notes.at("utterances without a caption"), 1);
  EXPECT_EQ(ledger_.notes.at("captions of utterances that are not there"), 1);
}

TEST_F(CaptionsTest, NamesWhatIsWrong) {
  const std::string good = R"({"split": "train", "dialogue": "7", "utterance": "3", "text": "Fine."})"
                           "\n";
  expect_contains(message_for(good + good), ":2: a second caption of utterance 3 of dialogue 7 in train");
  expect_contains(message_for(good + "{"), ":2: is not valid JSON");
  expect_contains(message_for(R"({"split": "train", "dialogue": "7", "utterance": "3", "caption": "Fine."})"),
                  ":1: unknown field 'caption'");
  expect_contains(message_for(R"({"split": "train", "dialogue": "7", "utterance": "3", "text": " "})"),
                  "is blank");
  expect_contains(
      message_for(R"({"split": "train", "dialogue": "8", "utterance": "3", "text": "Fine."})"),
      "none of its 1 captions names an utterance of the corpus; the ids must be those of the corpus, for "
      "example dialogue 7, utterance 0 in train");
}

TEST_F(CaptionsTest, BlankLinesAndNullSayNothing) {
  corpora_[0].splits[0].name = "dev";
  join(
      "\n"
      R"({"corpus": null, "split": "validation", "dialogue": "7", "utterance": "0", "text": "A door.\nBo: Hi.", "note": null})"
      "\n\n");
  EXPECT_EQ(caption(0, 0), "A door. Bo: Hi.");
  EXPECT_EQ(ledgers_[0][0].normalised_characters, 1);
  expect_contains(message_for("\n\n{"), ".jsonl:3: is not valid JSON");
  expect_contains(message_for(R"({"split": "train", "dialogue": "7", "utterance": "0", "text": "a\u0000"})"),
                  ".jsonl:1: \\u0000, a zero character, which no text holds");
}

}  // namespace
}  // namespace chorus
