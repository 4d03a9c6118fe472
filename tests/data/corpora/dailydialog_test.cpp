#include "data/corpora/dailydialog.h"

#include <cstdlib>
#include <map>
#include <set>

#include "tests/data/corpora/counts.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

struct Read {
  Corpus corpus;
  std::vector<SplitLedger> ledgers;
};

Read read(const std::string& texts, const std::string& labels, bool skip = false) {
  const TemporaryFolder folder;
  folder.write("train/dialogues_train.txt", texts);
  folder.write("train/dialogues_emotion_train.txt", labels);
  Read result;
  result.corpus = read_dailydialog(folder.path(), {skip}, result.ledgers);
  return result;
}

std::string message_for(const std::string& texts, const std::string& labels) {
  return message_of<DataError>([&] { read(texts, labels); });
}

TEST(DailyDialog, SpeakersTakeTurnsAndTextIsTrimmed) {
  const Read r = read("Nice day . __eou__  Is it ? __eou__Yes ! __eou__\nBye .__eou__\n", "0 6 4 \n0\n");
  const auto& dialogues = r.corpus.splits[0].dialogues;
  ASSERT_EQ(dialogues.size(), 2U);
  EXPECT_EQ(dialogues[0].id, "0");
  ASSERT_EQ(dialogues[0].utterances.size(), 3U);
  const Utterance& second = dialogues[0].utterances[1];
  EXPECT_EQ(second.id, "1");
  EXPECT_EQ(second.text, "Is it ?");
  EXPECT_EQ(second.speaker, "B");
  EXPECT_EQ(second.label, "surprise");
  EXPECT_EQ(dialogues[0].utterances[2].speaker, "A");
  EXPECT_EQ(dialogues[0].utterances[2].text, "Yes !");
  EXPECT_EQ(dialogues[1].id, "1");
  EXPECT_EQ(dialogues[1].utterances[0].line, 2);
  EXPECT_EQ(r.corpus.labels, (std::vector<std::string>{"no_emotion", "anger", "disgust", "fear", "happiness",
                                                       "sadness", "surprise"}));
  EXPECT_EQ(r.ledgers[0].rows_read, 2);
  EXPECT_EQ(r.ledgers[0].utterances, 4);
}

TEST(DailyDialog, RefusesEachBadLine) {
  const std::string first = "Hi . __eou__\n", file = "dialogues_train.txt:2: ";
  const std::string uneven = message_for(first + "a __eou__ b __eou__\n", "0\n0\n");
  expect_contains(uneven, file + "different number of labels: 2 utterances, but ");
  expect_contains(uneven, "train/dialogues_emotion_train.txt:2 has 1 labels");
  expect_contains(message_for(first + "a __eou__ b\n", "0\n0 0\n"), file + "no __eou__ at the end: 'b'");
  expect_contains(message_for(first + "a __eou__ __eou__\n", "0\n0 0\n"),
                  file + "empty utterance: there is no text before __eou__ number 2");
  expect_contains(message_for(first + "a\x92 __eou__\n", "0\n0\n"),
                  file + "invalid UTF-8: at byte 2 of the line");
  expect_contains(message_for(first + "\n", "0\n\n"), file + "empty dialogue");
  expect_contains(message_for(first + "a __eou__\n", "0\n7\n"),
                  "dialogues_emotion_train.txt:2: unknown emotion: '7' is not a code from 0 to 6");
  expect_contains(message_for(first + "a __eou__\n", "0\nx\n"), "unknown emotion: 'x'");
  const std::string lines = message_for(first + first, "0\n");
  expect_contains(lines, "dialogues_train.txt has 2 lines but ");
  expect_contains(lines, "dialogues_emotion_train.txt has 1; they must");
}

TEST(DailyDialog, SkipsAndCountsBadLinesWhenAsked) {
  const Read r = read("a __eou__\nb __eou__ c __eou__\nd\ne __eou__\n", "0\n0\n0\n4\n", true);
  const std::map<std::string, std::int64_t> expected{{"different number of labels", 1},
                                                     {"no __eou__ at the end", 1}};
  EXPECT_EQ(r.ledgers[0].skipped_rows, expected);
  EXPECT_EQ(r.ledgers[0].rows_read, 4);
  ASSERT_EQ(r.corpus.splits[0].dialogues.size(), 2U);
  EXPECT_EQ(r.corpus.splits[0].dialogues[1].id, "3") << "ids do not depend on what is skipped";
}

TEST(DailyDialog, FindsFoldersOrFilesAndSaysWhatIsMissing) {
  const TemporaryFolder folder;
  std::vector<SplitLedger> ledgers;
  const auto message = [&] {
    return message_of<DataError>([&] { read_dailydialog(folder.path(), {}, ledgers); });
  };
  expect_contains(message(), "has none of train/dialogues_train.txt");
  folder.write("train.zip", "PK");
  expect_contains(message(), "holds archives only; unpack train.zip, validation.zip and test.zip");
  folder.write("dialogues_validation.txt", "a __eou__\n");
  expect_contains(message(), "dialogues_emotion_validation.txt: is missing; it belongs to ");
  folder.write("dialogues_emotion_validation.txt", "1\n");
  ledgers.clear();
  const Corpus corpus = read_dailydialog(folder.path(), {}, ledgers);
  ASSERT_EQ(corpus.splits.size(), 1U);
  EXPECT_EQ(corpus.splits[0].name, "dev");
  EXPECT_EQ(corpus.splits[0].dialogues[0].utterances[0].label, "anger");
}

std::vector<std::string> texts_of(const Dialogue& dialogue) {
  std::vector<std::string> texts;
  for (const Utterance& utterance : dialogue.utterances) texts.push_back(utterance.text);
  return texts;
}

TEST(DailyDialog, RealFiles) {
  const std::string source = real_file("data/dailydialog/train.zip");
  if (source.empty()) GTEST_SKIP() << not_there("data/dailydialog/train.zip");
  const TemporaryFolder folder;
  for (const char* split : {"train", "validation", "test"}) {
    const std::string archive = real_file(std::string("data/dailydialog/") + split + ".zip");
    const std::string command = "unzip -qo '" + archive + "' -d '" + folder.path() + "' 2>&1";
    if (std::system(command.c_str()) != 0)
      GTEST_SKIP() << "NOT TESTED: cannot unpack " << archive << " with unzip";
  }
  std::vector<SplitLedger> ledgers;
  expect_contains(message_of<DataError>([&] { read_dailydialog(folder.path(), {}, ledgers); }),
                  "dialogues_train.txt:7852: different number of labels: 12 utterances, but ");
  ledgers.clear();
  const Corpus corpus = read_dailydialog(folder.path(), {.skip_bad_rows = true}, ledgers);
  ASSERT_EQ(ledgers.size(), 3U);
  EXPECT_EQ(ledgers[0].rows_read, 11118);
  EXPECT_EQ(ledgers[0].skipped_rows,
            (std::map<std::string, std::int64_t>{{"different number of labels", 1}}));
  EXPECT_EQ(ledgers[1].dialogues, 1000);
  EXPECT_EQ(ledgers[2].dialogues, 1000);
  // The dialogue that is left out has 11 codes, all of no emotion: 72,143 with them.
  const std::map<std::string, std::int64_t> expected{
      {"no_emotion", 72143 - 11}, {"happiness", 11182}, {"surprise", 1600}, {"sadness", 969}, {"anger", 827},
      {"disgust", 303},           {"fear", 146}};
  EXPECT_EQ(label_counts(corpus.splits[0]), expected);
  EXPECT_EQ(ledgers[1].utterances, 8069);
  EXPECT_EQ(ledgers[2].utterances, 7740);

  std::set<std::vector<std::string>> train;
  for (const Dialogue& dialogue : corpus.splits[0].dialogues) train.insert(texts_of(dialogue));
  std::int64_t known = 0;
  for (const Dialogue& dialogue : corpus.splits[2].dialogues)
    known += train.contains(texts_of(dialogue)) ? 1 : 0;
  EXPECT_EQ(known, 93) << "test dialogues that are also in train";
}

}  // namespace
}  // namespace chorus
