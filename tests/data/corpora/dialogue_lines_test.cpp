#include "data/corpora/dialogue_lines.h"

#include <map>

#include "data/corpora/side_texts.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

const std::string good = R"({"id": "d0", "utterances": [{"speaker": "Ann", "text": "Hi.", "label": "joy"}]})";

std::string with_id(const std::string& id) {
  return R"({"id": ")" + id + R"(", "utterances": [{"speaker": "Bo", "text": "Go!", "label": "anger"}]})";
}

Corpus read(const TemporaryFolder& folder, std::vector<SplitLedger>& ledgers, bool skip = false) {
  return read_dialogue_lines(folder.path(), {skip}, ledgers);
}

// With a good first line.
std::string message_for(const std::string& line) {
  const TemporaryFolder folder;
  folder.write("train.jsonl", good + "\n" + line + "\n");
  std::vector<SplitLedger> ledgers;
  return message_of<DataError>([&] { read(folder, ledgers); });
}

std::string message_for_utterance(const std::string& utterance) {
  return message_for(R"({"id": "d1", "utterances": [{"speaker": "Ann", "text": "Hi."}, )" + utterance + "]}");
}

TEST(DialogueLines, ReadsEveryField) {
  const TemporaryFolder folder;
  folder.write(
      "dev.jsonl",
      good + "\r\n" + R"({"id": "d1", "utterances": [{"speaker": "Ann", "text": "Look!"},)" +
          R"({"id": "x", "speaker": "Bo", "text": "Où?", "label": "fear", "caption": "He turns.", "side": {"cue": "slow", "traits": null}}]})");
  std::vector<SplitLedger> ledgers;
  const Corpus corpus = read(folder, ledgers);
  EXPECT_EQ(corpus.name, "jsonl");
  EXPECT_EQ(corpus.labels, (std::vector<std::string>{"fear", "joy"}));
  ASSERT_EQ(corpus.splits.size(), 1U);
  ASSERT_EQ(corpus.splits[0].dialogues.size(), 2U);
  const Dialogue& dialogue = corpus.splits[0].dialogues[1];
  EXPECT_EQ(dialogue.id, "d1");
  EXPECT_EQ(dialogue.utterances[0].id, "0");
  EXPECT_EQ(dialogue.utterances[0].label, "") << "context only";
  EXPECT_TRUE(dialogue.utterances[0].side.empty());
  EXPECT_EQ(dialogue.utterances[1].id, "x");
  EXPECT_EQ(dialogue.utterances[1].speaker, "Bo");
  EXPECT_EQ(dialogue.utterances[1].text, "Où?");
  EXPECT_EQ(dialogue.utterances[1].label, "fear");
  ASSERT_EQ(dialogue.utterances[1].side.size(), 2U);
  EXPECT_EQ(*side_text(dialogue.utterances[1], "caption"), "He turns.");
  EXPECT_EQ(*side_text(dialogue.utterances[1], "cue"), "slow");
  EXPECT_EQ(dialogue.utterances[1].line, 2);
  EXPECT_EQ(ledgers[0].rows_read, 2);
  EXPECT_EQ(ledgers[0].utterances, 3);
}

TEST(DialogueLines, NullIsNotThereAndTextsAreNormalised) {
  const TemporaryFolder folder;
  folder.write(
      "train.jsonl",
      "\xEF\xBB\xBF" + good + "\n\n" +
          R"({"id": "d1", "title": null, "utterances": [{"id": null, "speaker": "Bo", "text": "It\u0092s\nme",)" +
          R"("label": null, "caption": null, "emotion": null}]})" + "\n \n");
  std::vector<SplitLedger> ledgers;
  const Corpus corpus = read(folder, ledgers);
  const Utterance& utterance = corpus.splits[0].dialogues[1].utterances[0];
  EXPECT_EQ(utterance.id, "0");
  EXPECT_EQ(utterance.label, "");
  EXPECT_EQ(utterance.text, "It’s me");
  EXPECT_EQ(utterance.line, 3);
  EXPECT_EQ(ledgers[0].rows_read, 2);
  EXPECT_EQ(ledgers[0].normalised_characters, 2);
}

TEST(DialogueLines, OtherNamesOfDevAreDev) {
  for (const std::string name : {"valid", "validation", "val", "dev"}) {
    const TemporaryFolder folder;
    for (const std::string& split : {name, std::string("train"), std::string("test"), std::string("apart")})
      folder.write(split + ".jsonl", with_id(split));
    std::vector<SplitLedger> ledgers;
    const Corpus corpus = read(folder, ledgers);
    ASSERT_EQ(corpus.splits.size(), 4U);
    EXPECT_EQ(corpus.splits[1].name, "dev");
    EXPECT_EQ(corpus.splits[1].dialogues[0].id, name);
    EXPECT_EQ(ledgers[1].split, "dev");
    folder.write(name == "dev" ? "val.jsonl" : "dev.jsonl", good);
    expect_contains(message_of<DataError>([&] { read(folder, ledgers); }), " are both the dev split");
  }
}

TEST(DialogueLines, EveryFileIsASplitAndTheUsualOnesComeFirst) {
  const TemporaryFolder folder;
  for (const char* name : {"friends", "test", "dev", "train", "colleagues"})
    folder.write(std::string(name) + ".jsonl", with_id(name));
  folder.write("notes.txt", "nothing");
  std::vector<SplitLedger> ledgers;
  const Corpus corpus = read(folder, ledgers);
  const std::vector<std::string> expected{"train", "dev", "test", "colleagues", "friends"};
  ASSERT_EQ(corpus.splits.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(corpus.splits[i].name, expected[i]);
    EXPECT_EQ(corpus.splits[i].dialogues[0].id, expected[i]);
    EXPECT_EQ(ledgers[i].split, expected[i]);
  }
}

TEST(DialogueLines, LabelsOfTheFileSayOrderAndWhatIsKnown) {
  const TemporaryFolder folder;
  folder.write("train.jsonl", good);
  folder.write("labels.json", R"(["neutral", "joy", "anger"])");
  std::vector<SplitLedger> ledgers;
  EXPECT_EQ(read(folder, ledgers).labels, (std::vector<std::string>{"neutral", "joy", "anger"}));
  folder.write(
      "test.jsonl",
      good + "\n" + R"({"id": "d1", "utterances": [{"speaker": "A", "text": "B", "label": "angre"}]})");
  expect_contains(
      message_of<DataError>([&] { read(folder, ledgers); }),
      "test.jsonl:2: unknown emotion: 'angre' is none of neutral, joy, anger; did you mean 'anger'?");
  const auto message = [&](const std::string& labels) {
    folder.write("labels.json", labels);
    return message_of<DataError>([&] { read(folder, ledgers); });
  };
  expect_contains(message("[\"joy\", \"joy\"]"), "labels.json: \"joy\" stands there twice");
  expect_contains(message("[\"joy\", 7]"), "labels.json: 7 is no name");
  expect_contains(message("[]"), "labels.json: must be a list of names");
  expect_contains(message("{\"joy\": 1}"), "labels.json: must be a list of names");
  expect_contains(message("[\"joy\""), "labels.json: is not valid JSON");
}

TEST(DialogueLines, RefusesEachBadLine) {
  const std::string file = "train.jsonl:2: ";
  expect_contains(message_for("{"), file + "no JSON: ");
  EXPECT_EQ(message_for(" \t"), "[no exception]") << "blank lines say nothing";
  expect_contains(message_for("\n{"), "train.jsonl:3: no JSON: ");
  expect_contains(message_for(R"({"id": "a", "utterances": [{"speaker": "A", "text": "x\u0000y"}]})"),
                  file + "zero character: ");
  expect_contains(message_for("[]"), file + "no object: the dialogue must be a JSON object");
  expect_contains(message_for(R"({"id": "a", "utterance": []})"),
                  file + "unknown field: 'utterance' of the dialogue; did you mean 'utterances'?");
  expect_contains(message_for(R"({"utterances": [{"speaker": "A", "text": "B"}]})"),
                  file + "missing field: the dialogue has no 'id'");
  expect_contains(message_for(R"({"id": 7, "utterances": []})"),
                  file + "bad field: 'id' of the dialogue must be a text that is not blank; it is 7");
  expect_contains(message_for(R"({"id": "a", "utterances": []})"), file + "no utterances");
  expect_contains(message_for(R"({"id": "a"})"), file + "no utterances");
  expect_contains(message_for(with_id("d0")),
                  file + "duplicate dialogue: a line above has the id 'd0' already");
  expect_contains(message_for("\xFF"), file + "invalid UTF-8: at byte 1 of the line, byte 0xFF");
}

TEST(DialogueLines, RefusesEachBadUtterance) {
  const std::string file = "train.jsonl:2: ";
  expect_contains(message_for_utterance("7"), file + "no object: utterance 1 must be a JSON object");
  expect_contains(message_for_utterance(R"({"speaker": "A", "text": "B", "emotion": "joy"})"),
                  file + "unknown field: 'emotion' of utterance 1; did you mean 'caption'?");
  expect_contains(message_for_utterance(R"({"speaker": "A"})"),
                  file + "missing field: utterance 1 has no 'text'");
  expect_contains(message_for_utterance(R"({"text": "A"})"),
                  file + "missing field: utterance 1 has no 'speaker'");
  expect_contains(message_for_utterance(R"({"speaker": "A", "text": " "})"),
                  file + "bad field: 'text' of utterance 1 must be a text that is not blank; it is \" \"");
  expect_contains(message_for_utterance(R"({"speaker": "A", "text": null})"),
                  file + "missing field: utterance 1 has no 'text'");
  expect_contains(message_for_utterance(R"({"id": "0", "speaker": "A", "text": "B"})"),
                  file + "duplicate utterance: two utterances of dialogue d1 have the id '0'");
  const auto side = [](const std::string& fields) {
    return message_for_utterance(R"({"speaker": "A", "text": "B", )" + fields + "}");
  };
  expect_contains(side(R"("side": "x")"),
                  file + "bad field: 'side' of utterance 1 must be an object of texts; it is \"x\"");
  expect_contains(side(R"("side": {"label": "x"})"),
                  file + "bad field: 'label' in 'side' of utterance 1: a side text's name has small letters");
  expect_contains(
      side(R"("side": {"cue": 7})"),
      file + "bad field: 'cue' of 'side' of utterance 1 must be a text that is not blank; it is 7");
  expect_contains(side(R"("caption": "x", "side": {"caption": "y"})"),
                  file + "bad field: utterance 1 has 'caption', and another in 'side'");
}

TEST(DialogueLines, SkipsAndCountsBadLinesWhenAsked) {
  const TemporaryFolder folder;
  folder.write("train.jsonl",
               good + "\n{\n" + with_id("d0") + "\n" + with_id("\xFF") + "\n" + with_id("d1") + "\n");
  std::vector<SplitLedger> ledgers;
  const Corpus corpus = read(folder, ledgers, true);
  EXPECT_EQ(ledgers[0].skipped_rows, (std::map<std::string, std::int64_t>{
                                         {"no JSON", 1}, {"duplicate dialogue", 1}, {"invalid UTF-8", 1}}));
  EXPECT_EQ(ledgers[0].rows_read, 5);
  EXPECT_EQ(corpus.splits[0].dialogues[1].id, "d1");
}

TEST(DialogueLines, RefusesFoldersWithoutLabelsOrWithBadNames) {
  const TemporaryFolder folder;
  folder.write("test.jsonl", R"({"id": "a", "utterances": [{"speaker": "A", "text": "B"}]})");
  std::vector<SplitLedger> ledgers;
  const auto message = [&] { return message_of<DataError>([&] { read(folder, ledgers); }); };
  expect_contains(message(), "no utterance has a 'label', and there is no labels.json");
  folder.write("labels.json", R"(["joy"])");
  EXPECT_EQ(message(), "[no exception]") << "labels to choose from are enough to be asked about";
  folder.write("a.b.jsonl", good);
  expect_contains(message(), "a.b.jsonl: 'a.b' cannot be the name of a split");
}

}  // namespace
}  // namespace chorus
