#include "data/meld.h"

#include <map>

#include "tests/data/scratch.h"

namespace chorus {
namespace {

const std::string header =
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,StartTime,EndTime\r\n";

std::string row(const std::string& text, const std::string& emotion, const std::string& dialogue,
                const std::string& utterance, const std::string& start = "\"0:16:16,059\"") {
  return "1," + text + ",Ann," + emotion + ",neutral," + dialogue + "," + utterance + "," + start + ",\r\n";
}

// As row(), with a good end time.
std::string good(const std::string& text, const std::string& emotion, int dialogue, int utterance) {
  return "1," + text + ",Ann," + emotion + ",x," + std::to_string(dialogue) + "," +
         std::to_string(utterance) + ",\"0:16:16,059\",\"00:16:21,731\"\r\n";
}

struct Read {
  Corpus corpus;
  Ledger ledger;
};

Read read(const std::string& body, bool skip = false) {
  const ScratchFolder folder;
  folder.write("train_sent_emo.csv", header + body);
  Read result;
  result.corpus = read_meld(folder.path(), {skip}, result.ledger);
  return result;
}

std::string message_for(const std::string& body) {
  return message_of<DataError>([&] { read(body); });
}

TEST(Meld, KeepsTheOrderOfTheFileAcrossGaps) {
  const Read r = read(good("one", "joy", 7, 0) + good("other", "fear", 9, 3) + good("two", "anger", 7, 5));
  ASSERT_EQ(r.corpus.splits.size(), 1U);
  const auto& dialogues = r.corpus.splits[0].dialogues;
  ASSERT_EQ(dialogues.size(), 2U);
  EXPECT_EQ(dialogues[0].id, "7");
  ASSERT_EQ(dialogues[0].utterances.size(), 2U);
  EXPECT_EQ(dialogues[0].utterances[1].text, "two");
  EXPECT_EQ(dialogues[0].utterances[1].id, "5");
  EXPECT_EQ(dialogues[0].utterances[1].label, "anger");
  EXPECT_EQ(dialogues[0].utterances[1].line, 4);
  EXPECT_EQ(dialogues[1].utterances[0].speaker, "Ann");
  EXPECT_EQ(r.ledger.splits[0].rows_read, 3);
  EXPECT_EQ(r.ledger.splits[0].utterances, 3);
  EXPECT_EQ(r.ledger.splits[0].dialogues, 2);
}

TEST(Meld, RefusesEachBadRow) {
  const std::string first = good("one", "joy", 0, 1);
  expect_contains(
      message_for(first + good("two", "joyful", 0, 2)),
      "train_sent_emo.csv:3: unknown emotion: 'joyful' is none of neutral, surprise, fear, sadness, joy, "
      "disgust, anger");
  expect_contains(message_for(first + good("two", "joy", 0, 1)),
                  "train_sent_emo.csv:3: duplicate utterance: dialogue 0 has an utterance 1 already");
  expect_contains(message_for(good("x", "joy", 0, 0) + good("x", "joy", 0, 4) + good("x", "joy", 0, 0)),
                  "train_sent_emo.csv:4: duplicate utterance");
  expect_contains(
      message_for(first + good("two", "joy", 0, 0)),
      "train_sent_emo.csv:3: utterance out of order: utterance 0 of dialogue 0 stands after utterance 1");
  expect_contains(message_for(row("x", "joy", "0", "0")), "train_sent_emo.csv:2: bad time: ''");
  expect_contains(message_for(row("x", "joy", "0", "0", "12 s")), "bad time: '12 s'");
  expect_contains(message_for(row("x", "joy", "zero", "0")), "bad Dialogue_ID: 'zero' is not a number");
  expect_contains(message_for(row("x", "joy", "0", "-1")), "bad Utterance_ID: '-1' is not a number");
  expect_contains(message_for(good(" ", "joy", 0, 0)), "empty utterance");
  expect_contains(message_for("1,x, ,joy,x,0,0,0:00:00,0:00:01\r\n"), "empty speaker");
  expect_contains(message_for("1,x\r\n"), "wrong number of columns");
  expect_contains(message_for(good("ca\x92t", "joy", 0, 0)), "invalid UTF-8");
  expect_contains(message_for(good("\"open", "joy", 0, 0)), "unbalanced quote");
  expect_contains(message_for(""), "has no utterances");
}

TEST(Meld, SkipsAndCountsBadRowsWhenAsked) {
  const Read r =
      read(good("one", "joy", 0, 1) + good("two", "happy", 0, 2) + "1,2\r\n" + good("\xFF", "joy", 0, 3) +
               good("three", "joy", 0, 1) + good("four", "sad", 1, 0) + good("five", "fear", 0, 6),
           true);
  const SplitLedger& ledger = r.ledger.splits[0];
  const std::map<std::string, std::int64_t> expected{{"unknown emotion", 2},
                                                     {"wrong number of columns", 1},
                                                     {"invalid UTF-8", 1},
                                                     {"duplicate utterance", 1}};
  EXPECT_EQ(ledger.skipped_rows, expected);
  EXPECT_EQ(ledger.rows_read, 7);
  EXPECT_EQ(ledger.utterances, 2);
  ASSERT_EQ(r.corpus.splits[0].dialogues.size(), 1U) << "a dialogue without utterances must not exist";
  EXPECT_EQ(r.corpus.splits[0].dialogues[0].utterances[1].text, "five");
}

TEST(Meld, EveryRowBadIsAnErrorEvenWhenSkipping) {
  expect_contains(message_of<DataError>([] { read("1,2\r\n", true); }), "every row is malformed");
}

TEST(Meld, NormalisesWindows1252Controls) {
  std::string text = "Can\xC2\x92t\xC2\x85 \xC2\x93yes\xC2\x94\xC2\xA0\xC2\x97 caf\xC3\xA9 \xC2\xA3 \xC2\x81";
  EXPECT_EQ(normalise_windows_1252(text), 6);
  EXPECT_EQ(text, "Can’t… “yes” — café £ \xC2\x81");
  const Read r = read(good("I\xC2\x92m here", "joy", 0, 0) + good("plain", "joy", 0, 1));
  EXPECT_EQ(r.corpus.splits[0].dialogues[0].utterances[0].text, "I’m here");
  EXPECT_EQ(r.ledger.splits[0].normalised_characters, 1);
}

TEST(Meld, RefusesFoldersAndFilesThatAreNotMeld) {
  const ScratchFolder folder;
  Ledger ledger;
  expect_contains(message_of<DataError>([&] { read_meld(folder / "none", {}, ledger); }), "no such folder");
  expect_contains(message_of<DataError>([&] { read_meld(folder.path(), {}, ledger); }),
                  "has none of train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv");
  folder.write("dev_sent_emo.csv", "");
  expect_contains(message_of<DataError>([&] { read_meld(folder.path(), {}, ledger); }),
                  "dev_sent_emo.csv: is empty");
  folder.write("dev_sent_emo.csv", "Utterance,Speaker,Sentiment\n");
  expect_contains(message_of<DataError>([&] { read_meld(folder.path(), {}, ledger); }),
                  "there is no column 'Emotion', only Utterance, Speaker, Sentiment");
}

TEST(Meld, RealFiles) {
  const std::string folder = real_file("data/meld");
  if (folder.empty()) GTEST_SKIP() << not_there("data/meld");
  Ledger ledger;
  const Corpus corpus = read_meld(folder, {}, ledger);
  ASSERT_EQ(corpus.splits.size(), 3U);
  const std::vector<std::int64_t> utterances{9989, 1109, 2610}, dialogues{1038, 114, 280};
  std::map<std::string, int> test_labels;
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(ledger.splits[i].utterances, utterances[i]);
    EXPECT_EQ(ledger.splits[i].rows_read, utterances[i]);
    EXPECT_EQ(ledger.splits[i].dialogues, dialogues[i]);
    EXPECT_EQ(ledger.splits[i].normalised_characters, 0);
  }
  for (const Dialogue& dialogue : corpus.splits[2].dialogues) {
    for (const Utterance& utterance : dialogue.utterances) ++test_labels[utterance.label];
  }
  const std::map<std::string, int> expected{{"neutral", 1256}, {"joy", 402},     {"surprise", 281},
                                            {"anger", 345},    {"sadness", 208}, {"disgust", 68},
                                            {"fear", 50}};
  EXPECT_EQ(test_labels, expected);
}

}  // namespace
}  // namespace chorus
