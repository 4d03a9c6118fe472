#include "data/corpora/side_texts.h"

#include "tests/data/scratch.h"

namespace chorus {
namespace {

class SideTextsTest : public testing::Test {
 protected:
  bool join(const std::string& lines) {
    return join_side_texts("traits", folder_.write("side" + std::to_string(files_++) + ".jsonl", lines),
                           corpora_, ledgers_, ledger_);
  }
  std::string message_for(const std::string& lines) {
    return message_of<DataError>([&] { join(lines); });
  }
  std::string text(std::size_t corpus, std::size_t dialogue, std::size_t turn) const {
    const Utterance& line = corpora_[corpus].splits[0].dialogues[dialogue].utterances[turn];
    const std::string* text = side_text(line, "traits");
    return text == nullptr ? "" : *text;
  }

  TemporaryFolder folder_;
  int files_ = 0;
  std::vector<Corpus> corpora_{
      {"meld",
       {"joy"},
       {{"train",
         "f",
         {{"7", {{"0", "Ann", "x", "joy", 1}, {"3", "Bo", "y", "joy", 2}, {"4", "Ann", "z", "joy", 3}}},
          {"8", {{"0", "Ann", "x", "joy", 4}, {"1", "Cy", "y", "joy", 5}}}}}}},
      {"emorynlp",
       {"joy"},
       {{"train", "g", {{"7", {{"0", "Ann", "x", "joy", 1}, {"3", "Bo", "y", "joy", 2}}}}}}}};
  std::vector<std::vector<SplitLedger>> ledgers_{{SplitLedger{}}, {SplitLedger{}}};
  Ledger ledger_;
};

TEST_F(SideTextsTest, JoinsThoseOfLinesAndCountsWhatIsMissing) {
  EXPECT_FALSE(join(R"({"split": "train", "dialogue": "7", "utterance": "3", "text": "Two people laugh."}
{"corpus": "meld", "split": "train", "dialogue": "7", "utterance": "0", "text": "An empty room."}
{"split": "test", "dialogue": "7", "utterance": "3", "text": "Nobody."}
)"));
  EXPECT_EQ(text(0, 0, 0), "An empty room.");
  EXPECT_EQ(text(0, 0, 1), "Two people laugh.");
  EXPECT_EQ(text(1, 0, 0), "");
  EXPECT_EQ(text(1, 0, 1), "Two people laugh.");
  EXPECT_EQ(ledger_.notes.at("texts for {traits} that fit no utterance"), 1);
  EXPECT_TRUE(count_lines_without("traits", corpora_, ledgers_));
  EXPECT_EQ(ledgers_[0][0].notes.at("utterances without {traits}"), 3);
  EXPECT_EQ(ledgers_[1][0].notes.at("utterances without {traits}"), 1);
  EXPECT_FALSE(count_lines_without("cue", corpora_, ledgers_));
  EXPECT_FALSE(ledgers_[0][0].notes.contains("utterances without {cue}"));
}

TEST_F(SideTextsTest, TheMostSpecificThatFitsIsTaken) {
  EXPECT_TRUE(join(R"({"speaker": "Ann", "text": "anywhere"}
{"speaker": "Cy", "corpus": "meld", "text": "Cy, anywhere"}
{"split": "train", "dialogue": "7", "text": "dialogue"}
{"split": "train", "dialogue": "7", "speaker": "Ann", "text": "in the dialogue"}
{"split": "train", "dialogue": "7", "utterance": "4", "corpus": "meld", "text": "line"}
{"speaker": "Di", "text": "nobody"}
)"));
  EXPECT_EQ(text(0, 0, 0), "in the dialogue");
  EXPECT_EQ(text(0, 0, 1), "dialogue");
  EXPECT_EQ(text(0, 0, 2), "line");
  EXPECT_EQ(text(0, 1, 0), "anywhere");
  EXPECT_EQ(text(0, 1, 1), "Cy, anywhere");
  EXPECT_EQ(text(1, 0, 0), "in the dialogue");
  EXPECT_EQ(ledger_.notes.at("texts for {traits} that fit no utterance"), 1);
  const auto& dialogue = corpora_[0].splits[0].dialogues[0].utterances;
  EXPECT_EQ(side_text(dialogue[0], "traits"),
            side_text(corpora_[1].splits[0].dialogues[0].utterances[0], "traits"))
      << "one text, held once";
}

TEST_F(SideTextsTest, ALinesOwnTextGivesWayToOneOfTheLineOnly) {
  for (const std::size_t turn : {0U, 2U}) {
    set_side_text(corpora_[0].splits[0].dialogues[0].utterances[turn], "traits",
                  std::make_shared<const std::string>("own"));
  }
  join(R"({"split": "train", "dialogue": "7", "speaker": "Ann", "text": "in the dialogue"}
{"split": "train", "dialogue": "7", "utterance": "4", "text": "line"}
)");
  EXPECT_EQ(text(0, 0, 0), "own");
  EXPECT_EQ(text(0, 0, 2), "line");
  EXPECT_EQ(text(1, 0, 0), "in the dialogue");
}

TEST_F(SideTextsTest, NamesWhatIsWrong) {
  const std::string good = R"({"split": "train", "dialogue": "7", "utterance": "3", "text": "Fine."})"
                           "\n";
  expect_contains(message_for(good + good), ":2: a second text of utterance 3 of dialogue 7 in train");
  const auto twice = [&](const std::string& fields) {
    const std::string line = "{" + fields + R"(, "text": "Fine."})" + "\n";
    return message_for(line + line);
  };
  expect_contains(twice(R"("split": "train", "dialogue": "7", "speaker": "Ann")"),
                  ":2: a second text of speaker Ann in dialogue 7 in train");
  expect_contains(twice(R"("split": "train", "dialogue": "7")"), ":2: a second text of dialogue 7 in train");
  expect_contains(twice(R"("speaker": "Ann")"), ":2: a second text of speaker Ann");
  for (const char* fields :
       {R"("split": "train")", R"("split": "train", "speaker": "Ann")", R"("dialogue": "7")",
        R"("utterance": "3")", R"("split": "train", "dialogue": "7", "utterance": "3", "speaker": "Bo")",
        R"("corpus": "meld")", R"("dialogue": "7", "speaker": "Bo")",
        R"("utterance": "3", "speaker": "Bo")"}) {
    expect_contains(twice(fields),
                    ":1: must name split, dialogue and utterance, or split, dialogue and speaker");
  }
  expect_contains(twice(R"("speaker": "")"), ":1: field 'speaker' is empty");
  expect_contains(message_for(good + "{"), ":2: is not valid JSON");
  expect_contains(message_for(R"({"split": "train", "dialogue": "7", "utterance": "3", "caption": "Fine."})"),
                  ":1: unknown field 'caption'");
  expect_contains(message_for(R"({"split": "train", "dialogue": "7", "utterance": "3", "text": " \u00a0"})"),
                  "is blank");
  expect_contains(
      message_for(R"({"split": "train", "dialogue": "9", "utterance": "3", "text": "Fine."})"),
      "none of its 1 texts speaks of an utterance of the corpus; the ids must be those of the corpus, for "
      "example dialogue 7, utterance 0, speaker Ann in train");
}

TEST_F(SideTextsTest, BlankLinesAndNullSayNothing) {
  corpora_[0].splits[0].name = "dev";
  join(
      "\n"
      R"({"corpus": null, "split": "validation", "dialogue": "7", "utterance": "0", "text": "A door.\nBo: Hi.", "note": null})"
      "\n\n");
  EXPECT_EQ(text(0, 0, 0), "A door. Bo: Hi.");
  EXPECT_EQ(ledgers_[0][0].normalised_characters, 1);
  corpora_[0].splits[0].dialogues[1].utterances[1].speaker = "Cy Ray";
  join(R"({"speaker": "Cy\u00a0Ray", "text": "Old."})");
  EXPECT_EQ(text(0, 1, 1), "Old.") << "speakers are normalised as those of corpora";
  expect_contains(message_for("\n\n{"), ".jsonl:3: is not valid JSON");
  expect_contains(message_for(R"({"split": "train", "dialogue": "7", "utterance": "0", "text": "a\u0000"})"),
                  ".jsonl:1: \\u0000, a zero character, which no text holds");
}

TEST_F(SideTextsTest, NamesArePlaceholdersOfTheirOwn) {
  for (const char* good : {"caption", "a", "x_1"}) EXPECT_TRUE(is_side_name(good)) << good;
  for (const char* bad : {"", "1a", "_a", "A", "a-b", "a b", "label", "labels", "speaker", "speaker_number",
                          "utterance", "index", "features"})
    EXPECT_FALSE(is_side_name(bad)) << bad;
}

}  // namespace
}  // namespace chorus
