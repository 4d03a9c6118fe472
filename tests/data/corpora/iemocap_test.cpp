#include "data/corpora/iemocap.h"

#include <map>

#include <fmt/format.h>

#include "tests/data/scratch.h"

namespace chorus {
namespace {

// A turn of the evaluation, with votes as the release has them.
std::string labelled(const std::string& name, double start, const std::string& emotion) {
  return fmt::format(
      "[{:.4f} - {:.4f}]\t{}\t{}\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\nC-F1:\tNeutral; "
      "Anger;\t(calm)\n"
      "A-E3:\tval 3; act 2; dom  2;\t()\nA-M1:\tval 3; act 3; dom  2;\t()\n\n",
      start, start + 2, name, emotion);
}

std::string transcribed(const std::string& name, const std::string& text) {
  return name + " [006.2901-008.2357]: " + text + "\n";
}

const std::string header = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n";

// A release with three dialogues in each session, of one turn each.
class IemocapTest : public testing::Test {
 protected:
  IemocapTest() {
    for (int session = 1; session <= 5; ++session) {
      for (int number = 1; number <= 3; ++number) {
        const std::string name = fmt::format("Ses0{}F_impro0{}", session, number);
        write(session, name, header + labelled(name + "_F000", 1, "neu"),
              transcribed(name + "_F000", "Hello."));
      }
    }
  }

  void write(int session, const std::string& name, const std::string& evaluation,
             const std::string& transcription) {
    const std::string folder = fmt::format("IEMOCAP_full_release/Session{}/dialog/", session);
    folder_.write(folder + "EmoEvaluation/" + name + ".txt", evaluation);
    folder_.write(folder + "transcriptions/" + name + ".txt", transcription);
  }
  // Of the first dialogue.
  void write(const std::string& evaluation, const std::string& transcription) {
    write(1, "Ses01F_impro01", evaluation, transcription);
  }

  Corpus read(bool skip = false) {
    ledgers_.clear();
    return read_iemocap(folder_.path(), {skip}, ledgers_);
  }
  std::string message() {
    return message_of<DataError>([&] { read(); });
  }

  static constexpr const char* turn = "Ses01F_impro01_F000";
  TemporaryFolder folder_;
  std::vector<SplitLedger> ledgers_;
};

TEST_F(IemocapTest, SessionFiveIsTestAndEveryTenthOfTheOthersIsDev) {
  const Corpus corpus = read();
  EXPECT_EQ(corpus.labels,
            (std::vector<std::string>{"happy", "sad", "neutral", "angry", "excited", "frustrated"}));
  ASSERT_EQ(corpus.splits.size(), 3U);
  EXPECT_EQ(corpus.splits[0].name, "train");
  EXPECT_EQ(corpus.splits[0].dialogues.size(), 11U);
  ASSERT_EQ(corpus.splits[1].dialogues.size(), 1U);
  EXPECT_EQ(corpus.splits[1].dialogues[0].id, "Ses04F_impro01");
  ASSERT_EQ(corpus.splits[2].dialogues.size(), 3U);
  EXPECT_EQ(corpus.splits[2].name, "test");
  EXPECT_EQ(corpus.splits[2].dialogues[2].id, "Ses05F_impro03");
  EXPECT_EQ(ledgers_[0].rows_read, 11);
  std::vector<SplitLedger> ledgers;
  EXPECT_EQ(read_iemocap(folder_ / "IEMOCAP_full_release", {}, ledgers).splits[0].dialogues.size(), 11U);
}

TEST_F(IemocapTest, TurnsAreSortedByStartAndSpeakersAreTheLettersOfTurns) {
  const std::string dialogue = "Ses01F_impro01_";
  write(header + labelled(dialogue + "M001", 9.5, "ang") + labelled(dialogue + "F001", 10.25, "fru") +
            labelled(dialogue + "F000", 3, "hap") + labelled(dialogue + "MXX0", 9.5, "exc"),
        transcribed(dialogue + "F000", " One. ") + transcribed(dialogue + "F001", "Four.") +
            transcribed(dialogue + "M001", "Two.") + transcribed(dialogue + "MXX0", "Three [LAUGHTER]: so."));
  const auto utterances = read().splits[0].dialogues[0].utterances;
  ASSERT_EQ(utterances.size(), 4U);
  const std::vector<std::string> texts{"One.", "Two.", "Three [LAUGHTER]: so.", "Four."},
      speakers{"F", "M", "M", "F"}, labels{"happy", "angry", "excited", "frustrated"},
      ids{"F000", "M001", "MXX0", "F001"};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(utterances[i].text, texts[i]);
    EXPECT_EQ(utterances[i].speaker, speakers[i]);
    EXPECT_EQ(utterances[i].label, labels[i]);
    EXPECT_EQ(utterances[i].id, ids[i]);
  }
  EXPECT_EQ(utterances[1].line, 3);
}

TEST_F(IemocapTest, CountsWhatIsLeftOutByReason) {
  const std::string dialogue = "Ses01F_impro01_";
  write(header + labelled(dialogue + "F000", 1, "sad") + labelled(dialogue + "F001", 2, "xxx") +
            labelled(dialogue + "F002", 3, "oth") + labelled(dialogue + "F003", 4, "xxx") +
            labelled(dialogue + "M009", 5, "neu"),
        transcribed(dialogue + "F000", "One.") + "M: [LAUGHTER]\n" + transcribed(dialogue + "F001", "Two.") +
            "\n" + transcribed(dialogue + "F002", "Three.") + transcribed(dialogue + "F003", "Four.") +
            transcribed(dialogue + "FXX0", "Mhm."));
  // Neither votes of single persons nor what macOS leaves is read.
  folder_.write("IEMOCAP_full_release/Session1/dialog/EmoEvaluation/Categorical/Ses01F_impro01_e1_cat.txt",
                "x");
  folder_.write("IEMOCAP_full_release/Session1/dialog/EmoEvaluation/._Ses01F_impro01.txt", "\xFF");
  const Corpus corpus = read();
  ASSERT_EQ(corpus.splits[0].dialogues[0].utterances.size(), 1U);
  const std::map<std::string, std::int64_t> expected{{"emotion outside the six: xxx", 2},
                                                     {"emotion outside the six: oth", 1},
                                                     {"labelled turn without transcription", 1},
                                                     {"transcribed turn without label", 1},
                                                     {"transcribed line without turn", 1}};
  EXPECT_EQ(ledgers_[0].skipped_rows, expected);
  EXPECT_EQ(ledgers_[0].utterances, 11);
  EXPECT_EQ(ledgers_[0].rows_read, 17);
}

TEST_F(IemocapTest, RefusesEachBadLineOfTheEvaluation) {
  const std::string good = transcribed(turn, "Hello."), file = "EmoEvaluation/Ses01F_impro01.txt:";
  const auto message_for = [&](const std::string& evaluation) {
    write(header + evaluation, good);
    return message();
  };
  expect_contains(
      message_for(labelled(turn, 1, "joy")),
      file + "3: unknown emotion: 'joy' is none of hap, sad, neu, ang, exc, fru, sur, fea, dis, oth, xxx");
  expect_contains(message_for(labelled("Ses01F_impro02_F000", 1, "neu")),
                  file + "3: bad turn: 'Ses01F_impro02_F000' is no turn of Ses01F_impro01, such as ");
  expect_contains(message_for(labelled("Ses01F_impro01_X000", 1, "neu")), file + "3: bad turn");
  expect_contains(message_for(labelled(turn, 1, "neu") + labelled(turn, 2, "neu")),
                  file + "9: duplicate utterance");
  expect_contains(message_for("[1.0 - 2.0] Ses01F_impro01_F000 neu [2, 2, 2]\n"),
                  file + "3: malformed evaluation");
  expect_contains(message_for("words\n"), file + "3: malformed evaluation: neither a vote, a comment, nor");
}

TEST_F(IemocapTest, RefusesEachBadLineOfTheTranscription) {
  const std::string good = header + labelled(turn, 1, "neu"), file = "transcriptions/Ses01F_impro01.txt:1: ";
  const auto message_for = [&](const std::string& transcription) {
    write(good, transcription);
    return message();
  };
  expect_contains(message_for(std::string(turn) + ": Hello.\n"), file + "malformed transcription");
  expect_contains(message_for(transcribed(turn, "\x92")), file + "invalid UTF-8: at byte 42 of the line");
  expect_contains(message_for(transcribed(turn, " ")), file + "empty utterance");
  expect_contains(message_for(transcribed("Ses01M_impro01_F000", "Hello.")), file + "bad turn");
  expect_contains(message_for(transcribed(turn, "a") + transcribed(turn, "b")),
                  "transcriptions/Ses01F_impro01.txt:2: duplicate utterance: turn F000 is transcribed above");
}

TEST_F(IemocapTest, SkipsAndCountsBadLinesWhenAsked) {
  write(header + labelled(turn, 1, "neu") + "words\n",
        transcribed(turn, "Hello.") + "Ses01F_impro01_F001 Oh.\nM: \x92\n");
  const Corpus corpus = read(true);
  EXPECT_EQ(corpus.splits[0].dialogues.size(), 11U);
  EXPECT_EQ(ledgers_[0].skipped_rows,
            (std::map<std::string, std::int64_t>{
                {"invalid UTF-8", 1}, {"malformed evaluation", 1}, {"malformed transcription", 1}}));
}

TEST_F(IemocapTest, RefusesReleasesThatAreNotComplete) {
  const std::filesystem::path release = folder_ / "IEMOCAP_full_release";
  std::filesystem::remove(release / "Session2/dialog/transcriptions/Ses02F_impro03.txt");
  expect_contains(message(), "transcriptions/Ses02F_impro03.txt: is missing; it belongs to ");
  std::filesystem::remove_all(release / "Session3/dialog");
  expect_contains(message(), "Session3/dialog/EmoEvaluation: no such folder");
  std::filesystem::remove_all(release);
  expect_contains(message(), "has neither Session1 nor IEMOCAP_full_release/Session1");
}

}  // namespace
}  // namespace chorus
