// Files of corpora, and what is joined to them.

#include "data/corpora/conversation.h"
#include "data/corpora/corpus.h"
#include "data/corpora/label_map.h"
#include "data/corpora/leakage.h"
#include "data/corpora/sample_corpus.h"
#include "data/corpora/side_texts.h"
#include "data/corpora/written_dialogues.h"
#include "data/prepare.h"
#include "data/sets/hdf5_file.h"
#include "ops/base/error.h"
#include "tests/fuzz/target.h"
#include "tests/support/scratch.h"

namespace chorus::fuzz {
namespace {

// Bad rows are passed over first, so that what stands behind them is read as well.
void read_both_ways(const std::string& corpus, const std::filesystem::path& path) {
  for (const bool skip : {true, false}) {
    std::vector<SplitLedger> ledgers;
    const auto read = [&] { read_corpus(corpus, path, {.skip_bad_rows = skip}, ledgers); };
    skip ? unless_refused(read) : read();
  }
}

// The target of a corpus that is one file.
Target one_file(const std::string& name, const std::string& corpus, const std::string& path,
                std::function<std::vector<std::string>()> seeds) {
  return {name, std::move(seeds), [=](const std::string& input) {
            file(name + "/" + path, input);
            read_both_ways(corpus, folder(name));
          }};
}

std::vector<std::string> sample_table() {
  const test::ScratchFolder scratch;
  write_sample_corpus(scratch.path(),
                      {.train_dialogues = 2, .dev_dialogues = 1, .test_dialogues = 1, .paragraphs = 1});
  return {test::read_bytes(scratch / "train_sent_emo.csv")};
}

void read_iemocap(const std::string& input) {
  const auto [labels, words] = halves(input);
  // Three dialogues a session are enough for a dev split; the input is the first.
  for (int dialogue = 0; dialogue < 15; ++dialogue) {
    const std::string session = std::to_string(1 + dialogue / 3);
    const std::string name = "Ses0" + session + "F_impro0" + std::to_string(1 + dialogue % 3);
    const std::string place = "iemocap/IEMOCAP_full_release/Session" + session + "/dialog/";
    file(place + "EmoEvaluation/" + name + ".txt",
         dialogue == 0 ? labels : "[1.0000 - 2.0000]\t" + name + "_F000\tneu\t[2.5000, 2.5000, 2.5000]\n");
    file(place + "transcriptions/" + name + ".txt",
         dialogue == 0 ? words : name + "_F000 [001.0000-002.0000]: Yes.\n");
  }
  read_both_ways("iemocap", folder("iemocap"));
}

void read_dailydialog(const std::string& input) {
  const auto [words, labels] = halves(input);
  file("dailydialog/train/dialogues_train.txt", words);
  file("dailydialog/train/dialogues_emotion_train.txt", labels);
  read_both_ways("dailydialog", folder("dailydialog"));
}

void read_side_texts(const std::string& input) {
  std::vector<Corpus> corpora(1);
  corpora[0] = {
      "meld", {"joy"}, {{"train", "f", {{"7", {{"0", "A", "x", "joy", 1}, {"1", "B", "y", "joy", 2}}}}}}};
  std::vector<std::vector<SplitLedger>> ledgers{{SplitLedger{}}};
  Ledger ledger;
  join_side_texts("caption", file("side.jsonl", input), corpora, ledgers, ledger);
}

void read_label_map(const std::string& input) {
  const LabelMap map = LabelMap::load(file("labels.json", input));
  Corpus corpus{"meld",
                {"joy", "anger"},
                {{"train", "f", {{"7", {{"0", "A", "x", "joy", 1}, {"1", "B", "y", "anger", 2}}}}}}};
  map.apply(corpus);
  map.first_speaker("meld");
}

void read_conversations(const std::string& input) {
  ConversationFile conversations(file("conversations.jsonl", input));
  SplitLedger ledger;
  for (std::int64_t row = 0; row < conversations.rows(); ++row)
    unless_refused([&] { conversations.next(ledger); });
}

// Where the input speaks of features, with a file that holds the arrays a and b.
void read_tokens(const std::string& input) {
  static const std::filesystem::path features = [] {
    const std::filesystem::path path = folder("tokens-features") / "features.h5";
    std::filesystem::remove(path);
    Hdf5Writer file(path);
    for (const char* key : {"a", "b"}) file.write<float>(key, std::vector<float>{1, 2, 3, 4}, 2);
    file.commit();
    return path;
  }();
  std::filesystem::remove_all(folder("tokens-output"));
  PrepareOptions options;
  options.corpus = "tokens";
  options.inputs = {file("tokens.jsonl", input).string()};
  options.output = (folder("") / "tokens-output").string();
  options.vocabulary_size = 100;
  if (input.find("features") != std::string::npos) options.features = features;
  options.feature_rows = 2;
  prepare(options);
}

}  // namespace

std::vector<Target> corpus_targets() {
  return {
      one_file("meld", "meld", "train_sent_emo.csv", sample_table),
      one_file("emorynlp-csv", "emorynlp", "emorynlp_train_final.csv",
               [] {
                 return std::vector<std::string>{
                     "Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode,Start_Time,End_Time\n"
                     "Hi.,\"['Ann Lee', \"\"Bo's\"\"]\",Joyful,4,1,1,1,00:00:03.795,00:00:05.004\n"
                     "No!,['Bo'],Mad,4.0,2,1,1,,\n"};
               }),
      one_file(
          "emorynlp-json", "emorynlp", "emotion-detection-trn.json",
          [] {
            return std::vector<std::string>{
                R"({"episodes": [{"episode_id": "s01_e01", "scenes": [{"scene_id": "s01_e01_c01", "utterances": [
                     {"utterance_id": "s01_e01_c01_u001", "speakers": ["Ann Lee", "Bo"], "transcript": "Hi",
                      "tokens": [["Hi"]], "emotion": "Joyful"}]}]}]})"};
          }),
      {"iemocap",
       [] {
         const std::string turn = "Ses01F_impro01_F000";
         return std::vector<std::string>{
             "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n[6.2901 - 8.2357]\t" + turn +
             "\tneu\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n" +
             std::string(1, '\0') + turn + " [006.2901-008.2357]: Excuse me.\nM: (laughs)\n"};
       },
       read_iemocap},
      {"dailydialog",
       [] {
         return std::vector<std::string>{"Hi . __eou__ Is it ? __eou__\nBye . __eou__\n" +
                                         std::string(1, '\0') + "0 4\n6\n"};
       },
       read_dailydialog},
      one_file(
          "dialogue-lines", "jsonl", "train.jsonl",
          [] {
            return std::vector<std::string>{
                R"({"id": "7", "utterances": [{"id": "0", "speaker": "Ann", "text": "Hi!", "label": "joy", "caption": "A room.", "side": {"traits": "Old."}},)"
                R"({"speaker": "Bo", "text": "No.", "label": null}]})"
                "\n"};
          }),
      {"written-dialogues",
       [] {
         return std::vector<std::string>{"Ann: Hi!\nBo: No: never.\n\nAnn: Bye.\n",
                                         R"({"utterances": [{"speaker": "Ann", "text": "Hi!"}]})"};
       },
       [](const std::string& input) { parse_written_dialogues(input, "dialogues"); }},
      {"side-texts",
       [] {
         return std::vector<std::string>{
             R"({"corpus": "meld", "split": "train", "dialogue": "7", "utterance": "0", "text": "A room."})"
             "\n"
             R"({"split": "train", "dialogue": "7", "speaker": "A", "text": "Old."})"
             "\n"
             R"({"split": "train", "dialogue": "7", "text": "Two meet."})"
             "\n"
             R"({"speaker": "B", "text": "Young."})"};
       },
       read_side_texts},
      {"label-map",
       [] {
         return std::vector<std::string>{
             R"({"name": "m", "labels": ["happy"], "corpora": {"meld": {"labels": {"joy": "happy", "anger": null}, "first_speaker": 3}}})"};
       },
       read_label_map},
      {"conversations",
       [] {
         return std::vector<std::string>{
             R"({"messages": [{"role": "system", "content": "Be."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]},)"
             R"({"role": "assistant", "content": "Yes.", "weight": 0}, {"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]})"
             "\n",
             R"([{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes."}], "system": "Be."}])",
             R"({"instruction": "Say", "input": "it", "output": "It.", "system": "", "history": [["a", "b"]]})",
             R"({"images": ["a/1.jpg", "b"], "video": "c", "conversations": [{"from": "human", "value": "<image>\nor <image> <video>?"},)"
             R"({"from": "gpt", "value": "It."}]})",
             R"({"features": ["a"], "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "b"}},)"
             R"({"type": "audio"}, {"type": "text", "text": "Hi"}]}, {"role": "assistant", "content": "Yes."}]})"};
       },
       read_conversations},
      {"tokens",
       [] {
         return std::vector<std::string>{
             R"({"input_ids": [1, 5, 6, 7], "labels": [-100, -100, 6, 7], "group": "g", "attention_mask": [1, 1, 1, 1]})"
             "\n"
             R"({"input_ids": [1, 5, 6, 8], "labels": [-100, -100, 6, 8], "position_ids": [0, 1, 2, 3]})"
             "\n",
             R"({"input_ids": [1, -200, 6, -200, 7], "labels": [-100, -100, 6, -200, 7], "features": ["a", "b"]})"
             "\n"
             R"({"input_ids": [1, -200, 6, 8], "labels": [-100, -100, 6, 8], "features": ["a"]})"
             "\n"};
       },
       read_tokens},
  };
}

}  // namespace chorus::fuzz
