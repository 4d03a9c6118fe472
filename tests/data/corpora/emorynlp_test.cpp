#include "data/corpora/emorynlp.h"

#include <map>
#include <set>

#include "tests/data/corpora/counts.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

const std::string header =
    "Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode,Start_Time,End_Time\n";

std::string row(const std::string& text, const std::string& speaker, const std::string& emotion,
                const std::string& numbers, const std::string& start = "00:00:03.795") {
  return text + "," + speaker + "," + emotion + "," + numbers + "," + start + ",00:00:05.004\n";
}

// scene, utterance, season, episode
std::string good(const std::string& text, const std::string& numbers) {
  return row(text, "['Ann Lee']", "Joyful", numbers);
}

struct Read {
  Corpus corpus;
  std::vector<SplitLedger> ledgers;
};

Read read(const std::string& body, bool skip = false) {
  const TemporaryFolder folder;
  folder.write("emorynlp_train_final.csv", header + body);
  Read result;
  result.corpus = read_emorynlp(folder.path(), {skip}, result.ledgers);
  return result;
}

std::string message_for(const std::string& body) {
  return message_of<DataError>([&] { read(body); });
}

std::string utterance(const std::string& id, const std::string& speakers, const std::string& text,
                      const std::string& emotion) {
  return "{\n\"utterance_id\": \"" + id + "\",\n\"speakers\": " + speakers + ",\n\"transcript\": \"" + text +
         "\",\n\"tokens\": [],\n\"emotion\": \"" + emotion + "\"\n}";
}

std::string season(const std::string& utterances) {
  return "{\"season_id\": \"dev\", \"episodes\": [{\"episode_id\": \"s01_e15\",\n\"scenes\": [{\"scene_id\": "
         "\"s01_e15_c01\", \"utterances\": [\n" +
         utterances + "\n]}]}]}";
}

std::string json_message_for(const std::string& text) {
  const TemporaryFolder folder;
  folder.write("emotion-detection-dev.json", text);
  std::vector<SplitLedger> ledgers;
  return message_of<DataError>([&] { read_emorynlp(folder.path(), {}, ledgers); });
}

TEST(EmoryNlp, ReadsListsOfPython) {
  using List = std::vector<std::string>;
  EXPECT_EQ(parse_python_list("['Ann Lee']"), (List{"Ann Lee"}));
  EXPECT_EQ(parse_python_list(R"([ "Ann's Aunt" , 'Bo \'B\' Ray', 'C, D' ])"),
            (List{"Ann's Aunt", "Bo 'B' Ray", "C, D"}));
  EXPECT_EQ(parse_python_list("[]"), List{});
  for (const char* bad : {"Ann", "['Ann'", "['Ann]", "['Ann' 'Bo']", "['Ann',]", "[Ann]", "", "[", "['Ann\\"})
    EXPECT_EQ(parse_python_list(bad), std::nullopt) << bad;
}

TEST(EmoryNlp, ScenesOfOtherEpisodesAreOtherDialogues) {
  const Read r = read(good("one", "1,1,1,15") + good("two", "1,3,1,15") + good("three", "1,1,2,15") +
                      row("four", "\"['Ann Lee', \"\"Bo's Aunt\"\"]\"", "Sad", "2,1,1,15"));
  const auto& dialogues = r.corpus.splits[0].dialogues;
  ASSERT_EQ(dialogues.size(), 3U);
  EXPECT_EQ(dialogues[0].id, "1_15_1");
  EXPECT_EQ(dialogues[1].id, "2_15_1");
  EXPECT_EQ(dialogues[2].id, "1_15_2");
  ASSERT_EQ(dialogues[0].utterances.size(), 2U);
  EXPECT_EQ(dialogues[0].utterances[1].id, "3");
  EXPECT_EQ(dialogues[0].utterances[1].line, 3);
  EXPECT_EQ(dialogues[2].utterances[0].speaker, "Ann Lee, Bo's Aunt");
  EXPECT_EQ(dialogues[2].utterances[0].label, "Sad");
  EXPECT_EQ(r.ledgers[0].rows_read, 4);
  EXPECT_EQ(r.ledgers[0].dialogues, 3);
}

TEST(EmoryNlp, RefusesEachBadRow) {
  const std::string first = good("one", "1,1,1,15"), file = "emorynlp_train_final.csv:3: ";
  expect_contains(
      message_for(first + row("x", "['Ann']", "joy", "1,2,1,15")),
      file + "unknown emotion: 'joy' is none of Joyful, Mad, Peaceful, Neutral, Sad, Powerful, Scared");
  expect_contains(message_for(first + good("x", "1,1,1,15")),
                  file + "duplicate utterance: scene 1_15_1 has an utterance 1 already");
  expect_contains(message_for(first + good("x", "1,0,1,15")),
                  file + "utterance out of order: utterance 0 of scene 1_15_1 stands after utterance 1");
  expect_contains(message_for(first + good("x", "1,2,one,15")), file + "bad Season: 'one' is not a number");
  expect_contains(message_for(first + row("x", "Ann", "Sad", "1,2,1,15")),
                  file + "bad speakers: Ann is not a list");
  expect_contains(message_for(first + row("x", "[]", "Sad", "1,2,1,15")), file + "no speaker");
  expect_contains(message_for(first + row("x", "[' ']", "Sad", "1,2,1,15")), file + "no speaker");
  expect_contains(message_for(first + good(" ", "1,2,1,15")), file + "empty utterance");
  EXPECT_EQ(message_for(first + row("x", "['Ann']", "Sad", "1,2,1,15", "3 s")), "[no exception]")
      << "nothing uses times";
  expect_contains(message_for(""), "has no utterances");
}

TEST(EmoryNlp, SkipsAndCountsBadRowsWhenAsked) {
  const Read r =
      read(good("one", "1,1,1,15") + good(" ", "1,2,1,15") + "short\n" + good("two", "1,3,1,15"), true);
  const std::map<std::string, std::int64_t> expected{{"empty utterance", 1}, {"wrong number of columns", 1}};
  EXPECT_EQ(r.ledgers[0].skipped_rows, expected);
  EXPECT_EQ(r.ledgers[0].rows_read, 4);
  EXPECT_EQ(r.ledgers[0].utterances, 2);
}

TEST(EmoryNlp, ReadsTheAuthorsJsonWhereThereIsNoCsv) {
  const TemporaryFolder folder;
  folder.write("emotion-detection-tst.json",
               season(utterance("s01_e15_c01_u001", "[\"Ann Lee\", \"Bo Ray\"]", "I\xC2\x92m here.", "Mad") +
                      ",\n" + utterance("s01_e15_c01_u003", "[\"Bo Ray\"]", "Good.", "Neutral")));
  std::vector<SplitLedger> ledgers;
  Corpus corpus = read_emorynlp(folder.path(), {}, ledgers);
  ASSERT_EQ(corpus.splits.size(), 1U);
  EXPECT_EQ(corpus.splits[0].name, "test");
  EXPECT_EQ(corpus.splits[0].file, folder / "emotion-detection-tst.json");
  const Dialogue& dialogue = corpus.splits[0].dialogues.at(0);
  EXPECT_EQ(dialogue.id, "1_15_1");
  EXPECT_EQ(dialogue.utterances[0].speaker, "Ann Lee, Bo Ray");
  EXPECT_EQ(dialogue.utterances[0].text, "I’m here.");
  EXPECT_EQ(dialogue.utterances[0].line, 4);
  EXPECT_EQ(dialogue.utterances[1].id, "3");
  EXPECT_EQ(dialogue.utterances[1].line, 11);
  EXPECT_EQ(ledgers[0].normalised_characters, 1);

  folder.write("emorynlp_dev_final.csv", header + good("one", "1,1,1,15"));
  corpus = read_emorynlp(folder.path(), {}, ledgers);
  ASSERT_EQ(corpus.splits.size(), 1U) << "the two layouts are not mixed";
  EXPECT_EQ(corpus.splits[0].file, folder / "emorynlp_dev_final.csv");
}

TEST(EmoryNlp, RefusesBadJson) {
  const auto message = [](const std::string& id, const std::string& speakers, const std::string& emotion) {
    return json_message_for(season(utterance("s01_e15_c01_u001", "[\"Ann\"]", "Hi", "Sad") + ",\n" +
                                   utterance(id, speakers, "Hi", emotion)));
  };
  const std::string file = "emotion-detection-dev.json:11: ";
  expect_contains(message("s01_e15_c01_u002", "[]", "Sad"), file + "no speaker");
  expect_contains(message("s01_e15_c01_u002", "\"Ann\"", "Sad"), file + "bad speakers");
  expect_contains(message("s01_e15_c01_u002", "[7]", "Sad"), file + "bad speakers: 7 is no name");
  expect_contains(message("s01_e15_c01_u002", "[\"Ann\"]", "sad"), file + "unknown emotion: 'sad'");
  for (const char* id : {"s01_e15_c01", "s01_e15_u01_c001", "s01_e15_c01_u001_x1", "s_e15_c01_u002", "x"})
    expect_contains(message(id, "[\"Ann\"]", "Sad"),
                    std::string("bad utterance_id: '") + id + "' is not such as");
  expect_contains(json_message_for("{"), "emotion-detection-dev.json: is not valid JSON");
  expect_contains(json_message_for("{}"), "emotion-detection-dev.json: there is no field 'episodes'");
  expect_contains(json_message_for("{\"episodes\": 7}"), "field 'episodes' must be an array");
  expect_contains(json_message_for(season("7")), "bad utterance_id");
}

TEST(EmoryNlp, RealCsvFiles) {
  const std::string folder = real_file("data/emorynlp");
  if (folder.empty()) GTEST_SKIP() << not_there("data/emorynlp");
  std::vector<SplitLedger> ledgers;
  const Corpus corpus = read_emorynlp(folder, {}, ledgers);
  ASSERT_EQ(corpus.splits.size(), 3U);
  const std::vector<std::int64_t> utterances{7551, 954, 984}, scenes{659, 89, 79},
      with_several_speakers{50, 4, 7};
  // Neutral, Joyful, Scared, Mad, Peaceful, Powerful, Sad
  const std::vector<std::vector<std::int64_t>> labels{{2485, 1677, 941, 785, 638, 551, 474},
                                                      {322, 205, 127, 97, 82, 70, 51},
                                                      {288, 217, 116, 86, 111, 96, 70}};
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(ledgers[i].utterances, utterances[i]);
    EXPECT_EQ(ledgers[i].rows_read, utterances[i]);
    EXPECT_EQ(ledgers[i].dialogues, scenes[i]);
    const std::map<std::string, std::int64_t> expected{{"Neutral", labels[i][0]},  {"Joyful", labels[i][1]},
                                                       {"Scared", labels[i][2]},   {"Mad", labels[i][3]},
                                                       {"Peaceful", labels[i][4]}, {"Powerful", labels[i][5]},
                                                       {"Sad", labels[i][6]}};
    EXPECT_EQ(label_counts(corpus.splits[i]), expected);
    std::int64_t several = 0;
    for (const Dialogue& dialogue : corpus.splits[i].dialogues) {
      for (const Utterance& utterance : dialogue.utterances)
        several += utterance.speaker.find(", ") == std::string::npos ? 0 : 1;
    }
    EXPECT_EQ(several, with_several_speakers[i]);
  }
}

TEST(EmoryNlp, RealJsonFiles) {
  const std::string dev = real_file("data/emorynlp/emotion-detection-dev.json"),
                    test = real_file("data/emorynlp/emotion-detection-tst.json");
  if (dev.empty() || test.empty())
    GTEST_SKIP() << not_there("data/emorynlp/emotion-detection-{dev,tst}.json");
  const TemporaryFolder folder;
  folder.write("emotion-detection-dev.json", bytes_of(dev));
  folder.write("emotion-detection-tst.json", bytes_of(test));
  std::vector<SplitLedger> ledgers;
  const Corpus corpus = read_emorynlp(folder.path(), {}, ledgers);
  ASSERT_EQ(ledgers.size(), 2U);
  EXPECT_EQ(ledgers[0].utterances, 1344);
  EXPECT_EQ(ledgers[0].dialogues, 99);
  EXPECT_EQ(ledgers[1].utterances, 1328);
  EXPECT_EQ(ledgers[1].dialogues, 85);
  EXPECT_EQ(ledgers[0].normalised_characters + ledgers[1].normalised_characters, 0);
  const std::map<std::string, std::int64_t> expected{{"Neutral", 349},  {"Joyful", 282},   {"Scared", 182},
                                                     {"Peaceful", 159}, {"Powerful", 145}, {"Mad", 113},
                                                     {"Sad", 98}};
  EXPECT_EQ(label_counts(corpus.splits[1]), expected);
}

}  // namespace
}  // namespace chorus
