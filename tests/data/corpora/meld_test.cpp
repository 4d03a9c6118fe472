#include "data/corpora/meld.h"

#include <map>

#include "data/corpora/normalise.h"
#include "tests/data/corpora/counts.h"
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
  std::vector<SplitLedger> ledgers;
};

Read read(const std::string& body, bool skip = false) {
  const TemporaryFolder folder;
  folder.write("train_sent_emo.csv", header + body);
  Read result;
  result.corpus = read_meld(folder.path(), {skip}, result.ledgers);
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
  EXPECT_EQ(r.ledgers[0].rows_read, 3);
  EXPECT_EQ(r.ledgers[0].utterances, 3);
  EXPECT_EQ(r.ledgers[0].dialogues, 2);
}

TEST(Meld, RefusesEachBadRow) {
  const std::string first = good("one", "joy", 0, 1);
  expect_contains(
      message_for(first + good("two", "joyful", 0, 2)),
      "train_sent_emo.csv:3: unknown emotion: 'joyful' is none of neutral, surprise, fear, sadness, joy, "
      "disgust, anger; did you mean 'joy'?");
  expect_contains(message_for(first + good("two", "joy", 0, 1)),
                  "train_sent_emo.csv:3: duplicate utterance: dialogue 0 has an utterance 1 already");
  expect_contains(message_for(good("x", "joy", 0, 0) + good("x", "joy", 0, 4) + good("x", "joy", 0, 0)),
                  "train_sent_emo.csv:4: duplicate utterance");
  expect_contains(
      message_for(first + good("two", "joy", 0, 0)),
      "train_sent_emo.csv:3: utterance out of order: utterance 0 of dialogue 0 stands after utterance 1");
  expect_contains(message_for(row("x", "joy", "0.5", "0")), "bad Dialogue_ID: '0.5' is not a number");
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
  const SplitLedger& ledger = r.ledgers[0];
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
  EXPECT_EQ(r.ledgers[0].normalised_characters, 1);
}

TEST(Meld, ReadsWhatPandasWrites) {
  const TemporaryFolder folder;
  folder.write("dev_sent_emo.csv",
               ",Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID,StartTime,EndTime\n"
               "0,one,Ann,joy,3.0,0.0,,\n1,two,Ann,joy,3.0,12.00,12 s,later\n");
  std::vector<SplitLedger> ledgers;
  const Corpus corpus = read_meld(folder.path(), {}, ledgers);
  const std::vector<Dialogue>& dialogues = corpus.splits[0].dialogues;
  ASSERT_EQ(dialogues.size(), 1U);
  EXPECT_EQ(dialogues[0].id, "3");
  EXPECT_EQ(dialogues[0].utterances[1].id, "12");
}

TEST(Meld, MakesOneLineOfAnUtterance) {
  const Read r = read(good("\"Hello\r\n \nBen: there\"", "joy", 0, 0) + good("two  blanks", "joy", 0, 1));
  EXPECT_EQ(r.corpus.splits[0].dialogues[0].utterances[0].text, "Hello Ben: there");
  EXPECT_EQ(r.corpus.splits[0].dialogues[0].utterances[1].text, "two  blanks");
  EXPECT_EQ(r.ledgers[0].normalised_characters, 4);
}

TEST(Normalise, TakesEveryLineBreakAndNothingElse) {
  std::string text = "\n a \t b\u2028c\v\fd\u2029 ";
  EXPECT_EQ(normalise_line_breaks(text), 7);
  EXPECT_EQ(text, "a \t b c d");
  std::string plain = " caf\u00E9  \u2026 ";
  const std::string before = plain;
  EXPECT_EQ(normalise_line_breaks(plain), 0);
  EXPECT_EQ(plain, before);
}

TEST(Meld, CountsTextsThatLookMisread) {
  const Read r = read(good("I canâ€™t", "joy", 0, 0) + good("cafÃ©", "joy", 0, 1) +
                      good("caf\u00E9 \u00E2 \u00C3", "joy", 0, 2));
  const auto& notes = r.ledgers[0].notes;
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_EQ(notes.at("utterances that look like UTF-8 read as Windows-1252, as in canâ€™t"), 2);
}

TEST(Meld, RefusesFoldersAndFilesThatAreNotMeld) {
  const TemporaryFolder folder;
  std::vector<SplitLedger> ledgers;
  expect_contains(message_of<DataError>([&] { read_meld(folder / "none", {}, ledgers); }), "no such folder");
  expect_contains(message_of<DataError>([&] { read_meld(folder.path(), {}, ledgers); }),
                  "has none of train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv, nor their dyadic");
  folder.write("dev_sent_emo.csv", "");
  expect_contains(message_of<DataError>([&] { read_meld(folder.path(), {}, ledgers); }),
                  "dev_sent_emo.csv: is empty");
  folder.write("dev_sent_emo.csv", "Utterance,Speaker,Sentiment\n");
  expect_contains(message_of<DataError>([&] { read_meld(folder.path(), {}, ledgers); }),
                  "there is no column 'Emotion', only Utterance, Speaker, Sentiment");
}

TEST(Meld, FindsTheDyadicRelease) {
  const TemporaryFolder folder;
  folder.write("train_sent_emo_dya.csv", header + good("one", "joy", 0, 0));
  folder.write("test_sent_emo_dya.csv", header + good("two", "fear", 0, 0));
  std::vector<SplitLedger> ledgers;
  const Corpus corpus = read_meld(folder.path(), {}, ledgers);
  ASSERT_EQ(corpus.splits.size(), 2U);
  EXPECT_EQ(corpus.splits[1].name, "test");
  EXPECT_EQ(corpus.splits[1].file, folder / "test_sent_emo_dya.csv");
  EXPECT_EQ(ledgers[1].split, "test");
  folder.write("dev_sent_emo.csv", header + good("one", "joy", 0, 0));
  expect_contains(message_of<DataError>([&] { read_meld(folder.path(), {}, ledgers); }),
                  "holds MELD (_sent_emo.csv) and its dyadic release (_sent_emo_dya.csv)");
}

void expect_real_counts(const std::string& folder, const std::vector<std::int64_t>& utterances,
                        const std::vector<std::int64_t>& dialogues,
                        const std::vector<std::map<std::string, std::int64_t>>& labels) {
  if (real_file(folder).empty()) GTEST_SKIP() << not_there(folder);
  std::vector<SplitLedger> ledgers;
  const Corpus corpus = read_meld(real_file(folder), {}, ledgers);
  ASSERT_EQ(corpus.splits.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(ledgers[i].split, (std::vector<std::string>{"train", "dev", "test"}[i]));
    EXPECT_EQ(ledgers[i].utterances, utterances[i]);
    EXPECT_EQ(ledgers[i].rows_read, utterances[i]);
    EXPECT_EQ(ledgers[i].dialogues, dialogues[i]);
    EXPECT_EQ(ledgers[i].normalised_characters, 0);
    EXPECT_EQ(label_counts(corpus.splits[i]), labels[i]);
  }
}

TEST(Meld, RealFiles) {
  expect_real_counts("data/meld", {9989, 1109, 2610}, {1038, 114, 280},
                     {{{"neutral", 4710},
                       {"joy", 1743},
                       {"surprise", 1205},
                       {"anger", 1109},
                       {"sadness", 683},
                       {"disgust", 271},
                       {"fear", 268}},
                      {{"neutral", 470},
                       {"joy", 163},
                       {"surprise", 150},
                       {"anger", 153},
                       {"sadness", 111},
                       {"disgust", 22},
                       {"fear", 40}},
                      {{"neutral", 1256},
                       {"joy", 402},
                       {"surprise", 281},
                       {"anger", 345},
                       {"sadness", 208},
                       {"disgust", 68},
                       {"fear", 50}}});
}

TEST(Meld, RealDyadicFiles) {
  expect_real_counts("data/meld/dyadic", {12840, 1462, 3400}, {2160, 270, 577},
                     {{{"neutral", 5960},
                       {"joy", 2312},
                       {"surprise", 1490},
                       {"anger", 1500},
                       {"sadness", 876},
                       {"disgust", 364},
                       {"fear", 338}},
                      {{"neutral", 600},
                       {"joy", 214},
                       {"surprise", 210},
                       {"anger", 208},
                       {"sadness", 145},
                       {"disgust", 31},
                       {"fear", 54}},
                      {{"neutral", 1615},
                       {"joy", 495},
                       {"surprise", 352},
                       {"anger", 516},
                       {"sadness", 263},
                       {"disgust", 99},
                       {"fear", 60}}});
}

}  // namespace
}  // namespace chorus
