#include "core/scoring/predictions.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "data/text/files.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using test::holds;
using test::message_of;

AnsweredUtterance answered(const std::string& corpus, const std::string& id, const std::string& gold,
                           const std::string& predicted) {
  return {.key = {corpus, "test", "7", id},
          .speaker = "Ross",
          .text = "We were \"on\" a break…",
          .gold = gold,
          .predicted = predicted,
          .scores = {},
          .answer = std::nullopt,
          .found = true};
}

std::vector<AnsweredUtterance> example() {
  std::vector<AnsweredUtterance> utterances{answered("meld", "0", "joy", "anger"),
                                            answered("meld", "1", "anger", "anger"),
                                            answered("emorynlp", "0", "sad", "joy")};
  utterances[0].scores = {{"joy", -1.5}, {"anger", -0.25}};
  utterances[2].answer = "I feel jo";
  utterances[2].found = false;
  return utterances;
}

TEST(Predictions, SurviveAFile) {
  const test::ScratchFolder folder;
  write_predictions(folder / "predictions.jsonl", example());
  EXPECT_EQ(read_predictions(folder / "predictions.jsonl"), example());
}

TEST(Predictions, AreAJsonObjectALine) {
  const std::string text = to_json_lines(example());
  EXPECT_TRUE(
      text.starts_with(R"({"corpus":"meld","split":"test","dialogue":"7","utterance":"0","speaker":"Ross",)"
                       R"("text":"We were \"on\" a break…","gold":"joy","predicted":"anger",)"
                       R"("scores":{"joy":-1.5,"anger":-0.25}})"
                       "\n"))
      << text;
  EXPECT_TRUE(holds(text, R"("answer":"I feel jo","found":false})"));
}

TEST(Predictions, OfAnswersWithoutALabelAreNull) {
  std::vector<AnsweredUtterance> utterances = example();
  utterances[2].predicted = "";
  EXPECT_TRUE(holds(to_json_lines(utterances), R"("predicted":null,"answer":"I feel jo","found":false})"));
  const test::ScratchFolder folder;
  write_predictions(folder / "p.jsonl", utterances);
  EXPECT_EQ(read_predictions(folder / "p.jsonl"), utterances);
  EXPECT_EQ(labels_of(utterances), (std::vector<std::string>{"joy", "anger", "sad"}));
  const Scores scores = scores_of(utterances, labels_of(utterances));
  EXPECT_EQ(scores.unmatched(), 1);
  EXPECT_EQ(scores.classes()[2].support, 1);
}

// The same misses as when it was written.
TEST(Predictions, OfLabelsThatAreEquallyProbableAreMissesAlsoFromAFile) {
  const test::ScratchFolder folder;
  const AnsweredUtterance tied{{"meld", "test", "0", "1"},   "Ann", "Hi!", "joy", "",
                               {{"joy", -2}, {"anger", -2}}, {},    false};
  write_predictions(folder / "p.jsonl", std::vector{tied});
  const std::vector<AnsweredUtterance> read = read_predictions(folder / "p.jsonl");
  EXPECT_EQ(read, std::vector{tied});
  EXPECT_EQ(scores_of(read, labels_of(read)).misses(), 1);
}

TEST(Predictions, OfAnswersThatAreCutWithinACharacterAreStillText) {
  std::vector<AnsweredUtterance> utterances = example();
  utterances[2].answer = "caf\xC3";
  EXPECT_TRUE(holds(to_json_lines(utterances), "caf\xEF\xBF\xBD"));
}

TEST(Predictions, AreNeverOverwritten) {
  const test::ScratchFolder folder;
  test::write_bytes(folder / "kept", "kept");
  EXPECT_TRUE(holds(message_of<ConfigurationError>([&] { write_predictions(folder / "kept", example()); }),
                    "kept exist already"));
  EXPECT_EQ(test::read_bytes(folder / "kept"), "kept");
}

// The message for a file whose third line, after an empty one, is `line`.
std::string refusal(const std::string& line) {
  const test::ScratchFolder folder;
  const std::string good = to_json_lines(std::vector{answered("meld", "0", "joy", "joy")});
  test::write_bytes(folder / "p.jsonl", good + "\n" + line + "\n");
  return message_of<DataError>([&] { read_predictions(folder / "p.jsonl"); });
}

TEST(Predictions, AreReadStrictly) {
  EXPECT_TRUE(holds(refusal("{\"corpus\": "), "p.jsonl:3: is not valid JSON"));
  EXPECT_TRUE(holds(refusal("[1]"), "p.jsonl:3: must be an object, is array"));
  EXPECT_TRUE(holds(refusal(R"({"corpus": "meld"})"), "p.jsonl:3: field 'split' is missing"));
  EXPECT_TRUE(holds(refusal(R"({"speakers": "Ross"})"),
                    "p.jsonl:3: unknown field 'speakers'; did you mean 'speaker'?"));
  const std::string key = R"("corpus": "meld", "split": "test", "dialogue": "7", )";
  EXPECT_TRUE(holds(refusal("{" + key + R"("utterance": 1})"), "'utterance' must be a string, is number"));
  EXPECT_TRUE(holds(refusal("{" + key + R"("utterance": "0", "gold": "joy", "predicted": "joy"})"),
                    "p.jsonl:3: utterance 0 of dialogue 7 (meld, test) stands there twice"));
  EXPECT_TRUE(holds(
      refusal("{" + key + R"("utterance": "1", "gold": "joy", "predicted": "joy", "scores": {"a": "b"}})"),
      "the score of 'a' must be a number, is \"b\""));
  EXPECT_TRUE(
      holds(refusal("{" + key + R"("utterance": "1", "gold": "joy", "predicted": "joy", "found": 1})"),
            "'found' must be true or false, is 1"));
  EXPECT_TRUE(holds(refusal("{" + key + R"("utterance": "1", "gold": "", "predicted": "joy"})"),
                    "p.jsonl:3: field 'gold' is empty"));
}

TEST(Predictions, OfNothingAreRefused) {
  const test::ScratchFolder folder;
  test::write_bytes(folder / "p.jsonl", "\n");
  EXPECT_TRUE(
      holds(message_of<DataError>([&] { read_predictions(folder / "p.jsonl"); }), "holds no predictions"));
}

TEST(Predictions, KnowTheirLabels) {
  const std::vector<AnsweredUtterance> utterances = example();
  EXPECT_EQ(labels_of(utterances), (std::vector<std::string>{"joy", "anger", "sad"}));
  EXPECT_EQ(labels_of(std::span(utterances).subspan(1)), (std::vector<std::string>{"anger", "joy", "sad"}));
}

TEST(Predictions, AreScored) {
  const Scores scores = scores_of(example(), {"joy", "anger", "sad"});
  EXPECT_EQ(scores.count(), 3);
  EXPECT_EQ(scores.misses(), 1);
  EXPECT_EQ(scores.confusion(0, 1), 1);
  EXPECT_EQ(scores.confusion(2, 0), 1);
  EXPECT_TRUE(holds(message_of<Error>([] { scores_of(example(), {"joy", "anger"}); }), "'sad' is none"));
}

TEST(Predictions, AreScoredByCorpusWithTheLabelsThatOccurThere) {
  const auto corpora = scores_by_corpus(example());
  ASSERT_EQ(corpora.size(), 2U);
  EXPECT_EQ(corpora[0].corpus, "meld");
  EXPECT_EQ(corpora[0].scores.labels(), (std::vector<std::string>{"joy", "anger"}));
  EXPECT_DOUBLE_EQ(corpora[0].scores.macro_f1(), (0 + 2.0 / 3) / 2);
  EXPECT_EQ(corpora[1].corpus, "emorynlp");
  EXPECT_EQ(corpora[1].scores.labels(), (std::vector<std::string>{"joy", "sad"}));
}

TEST(Predictions, LeaveOutWhatAListNames) {
  const test::ScratchFolder folder;
  test::write_bytes(
      folder / "leaks.jsonl",
      R"({"corpus": "meld", "split": "test", "dialogue": "7", "utterance": "1", "also_in": "emorynlp"})"
      "\n"
      R"({"corpus": "meld", "split": "test", "dialogue": "7", "utterance": "99"})"
      "\n"
      R"({"corpus": "meld", "split": "train", "dialogue": "7", "utterance": "0"})"
      "\n"
      R"({"corpus": "iemocap", "split": "test", "dialogue": "7", "utterance": "0"})"
      "\n");
  EXPECT_EQ(read_utterance_keys(folder / "leaks.jsonl").size(), 4U);
  Exclusion exclusion(folder / "leaks.jsonl");
  std::vector<bool> excluded;
  for (const AnsweredUtterance& utterance : example()) excluded.push_back(exclusion.excludes(utterance.key));
  EXPECT_EQ(excluded, (std::vector{false, true, false}));
  EXPECT_EQ(exclusion.removed(), 1);
  EXPECT_EQ(exclusion.remaining(), 2);
  EXPECT_EQ(exclusion.unmatched(), 1);  // other splits and corpora are not meant
  EXPECT_EQ(exclusion.describe(),
            "without the 1 utterances that " + (folder / "leaks.jsonl").string() +
                " lists, 2 remain; 1 more that it lists of these corpora and this split are not there");
  test::write_bytes(folder / "bad.jsonl", R"({"corpus": "meld", "split": "test", "dialogue": 7})");
  EXPECT_TRUE(holds(message_of<DataError>([&] { read_utterance_keys(folder / "bad.jsonl"); }),
                    "bad.jsonl:1: field 'dialogue' must be a string"));
  test::write_bytes(folder / "none.jsonl", "");
  EXPECT_TRUE(read_utterance_keys(folder / "none.jsonl").empty());
}

TEST(Predictions, WithoutGoldLabelsAreCountedAndNotScored) {
  std::vector<AnsweredUtterance> utterances = example();
  for (AnsweredUtterance& utterance : utterances) utterance.gold = "";
  const std::string text = to_json_lines(utterances);
  EXPECT_FALSE(holds(text, "gold"));
  const test::ScratchFolder folder;
  test::write_bytes(folder / "p.jsonl", text);
  EXPECT_TRUE(holds(
      message_of<DataError>([&] { read_predictions(folder / "p.jsonl"); }),
      "p.jsonl:1: field 'gold' is missing: what was predicted for dialogues without labels has no score"));
  Evaluation evaluation;
  evaluation.labels = {"joy", "sad", "anger"};
  evaluation.predictions = {{-1, 2}, {-1, 0}, {-1, 2}};
  EXPECT_EQ(predicted_counts(evaluation),
            (std::vector<std::pair<std::string, std::int64_t>>{{"joy", 1}, {"sad", 0}, {"anger", 2}}));
  evaluation.predictions[1].predicted = no_label;  // a generated answer that holds none
  EXPECT_EQ(predicted_counts(evaluation).back(), std::pair(std::string("(no label)"), std::int64_t{1}));
}

TEST(Predictions, NullIsNotThere) {
  const test::ScratchFolder folder;
  test::write_bytes(
      folder / "p.jsonl",
      "\xEF\xBB\xBF\n"
      R"({"corpus": "m", "split": "test", "dialogue": "0", "utterance": "0", "speaker": null, "gold": "a",)"
      R"("predicted": "b", "scores": null, "answer": null, "found": null, "other": null})");
  const auto read = read_predictions(folder / "p.jsonl");
  ASSERT_EQ(read.size(), 1U);
  EXPECT_EQ(read[0].speaker, "");
  EXPECT_FALSE(read[0].answer);
  EXPECT_TRUE(read[0].scores.empty());
  EXPECT_TRUE(read[0].found);
}

}  // namespace
}  // namespace chorus
