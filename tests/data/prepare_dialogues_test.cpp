#include <algorithm>
#include <map>
#include <set>

#include <gmock/gmock.h>

#include "data/corpora/corpus.h"
#include "data/corpora/difficulty.h"
#include "data/corpora/sample_corpus.h"
#include "data/prepare.h"
#include "data/prompts/prompt.h"
#include "data/prompts/prompt_form.h"
#include "data/prompts/tokenizer.h"
#include "data/sets/dataset.h"
#include "data/sets/hdf5_file.h"
#include "ops/base/index.h"
#include "tests/data/prompts/chat_tokenizer.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

// Two corpora with labels of their own, and a tokenizer.
class PrepareDialoguesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new TemporaryFolder;
    write_sample_corpus(
        *shared_ / "meld",
        {.seed = 3, .train_dialogues = 20, .dev_dialogues = 3, .test_dialogues = 4, .paragraphs = 60});
    train_tokenizer({{*shared_ / "meld/pretraining.txt"}, 500, *shared_ / "t.model"});
    const std::string dialogues =
        R"({"id": "a", "utterances": [{"speaker": "Kim", "text": "My bike is gone!", "label": "rage"},
           {"speaker": "Lou", "text": "Hm.", "label": "calm"}, {"speaker": "Max", "text": "A door closes."}]})";
    std::string line = dialogues;
    line.erase(line.find('\n'), 1);
    for (const char* split : {"train", "dev"})
      shared_->write(std::string("own/") + split + ".jsonl", line + "\n");
    shared_->write("map.json", R"({"name": "both", "labels": ["good", "bad"], "corpora": {
      "meld": {"labels": {"neutral": "good", "surprise": "good", "joy": "good", "fear": "bad", "sadness": "bad",
                          "disgust": "bad", "anger": "bad"}},
      "jsonl": {"labels": {"rage": "bad", "calm": "good"}, "first_speaker": 20}}})");
  }
  static void TearDownTestSuite() { delete shared_; }

  PrepareOptions options() const {
    PrepareOptions options;
    options.inputs = {*shared_ / "meld"};
    options.output = folder_ / ("out" + std::to_string(outputs_++));
    options.tokenizer = *shared_ / "t.model";
    return options;
  }
  PrepareOptions mixed() const {
    PrepareOptions mixed = options();
    mixed.corpus = "mixed";
    mixed.inputs = {"meld=" + (*shared_ / "meld"), "jsonl=" + (*shared_ / "own")};
    mixed.label_map = *shared_ / "map.json";
    return mixed;
  }
  static Dataset read(const PrepareOptions& options, const std::string& split = "train") {
    return Dataset::read(options.output + "/" + split + ".h5");
  }
  static std::string words(const Dataset& dataset, std::int64_t sample) {
    const Tokenizer tokenizer = Tokenizer::load(*shared_ / "t.model");
    std::vector<std::int32_t> tokens = dataset.sequence(sample).tokens;
    std::erase_if(tokens, [&](std::int32_t t) { return t == tokenizer.bos() || t == tokenizer.eos(); });
    return tokenizer.decode(tokens);
  }

  static inline TemporaryFolder* shared_ = nullptr;
  TemporaryFolder folder_;
  mutable int outputs_ = 0;
};

TEST_F(PrepareDialoguesTest, MixedCorporaAreOneDataSet) {
  const PrepareOptions both = mixed();
  const Ledger ledger = prepare(both);
  const Dataset train = read(both);
  EXPECT_EQ(train.origin.corpora, (std::vector<std::string>{"meld", "jsonl"}));
  EXPECT_EQ(train.origin.labels, (std::vector<std::string>{"good", "bad"}));
  ASSERT_EQ(ledger.splits.size(), 3U);
  EXPECT_EQ(ledger.splits[0].dialogues, 21);
  EXPECT_EQ(ledger.splits[2].dialogues, 4) << "only one of them has a test split";

  std::map<std::int32_t, std::int64_t> utterances;
  for (const UtteranceReference& utterance : train.utterances) ++utterances[utterance.corpus];
  EXPECT_EQ(utterances[1], 2) << "the line without a label is context only";
  EXPECT_EQ(ledger.splits[0].dropped.at("without a label, context only"), 1);
  const UtteranceReference& last = train.utterances.back();
  EXPECT_EQ(last.speaker, "Lou");
  EXPECT_EQ(last.text, "Hm.");
  EXPECT_EQ(train.origin.labels[static_cast<std::size_t>(last.label)], "good");
  EXPECT_EQ(read(both, "dev").samples.size(), 2 * read(both, "dev").utterances.size())
      << "a candidate for each label";
}

TEST_F(PrepareDialoguesTest, MixedCorporaNeedOneSetOfLabels) {
  PrepareOptions both = mixed();
  both.label_map.clear();
  expect_contains(message_of<ConfigurationError>([&] { prepare(both); }),
                  "say with --label-map what they become");
  both = mixed();
  both.inputs[1] = both.inputs[1].substr(6);
  expect_contains(message_of<ConfigurationError>([&] { prepare(both); }), "cannot be the name of a corpus");
}

TEST_F(PrepareDialoguesTest, NumbersOfSpeakersBeginWhereTheMapSays) {
  PrepareOptions both = mixed();
  both.recipe = "window";
  prepare(both);
  const Dataset train = read(both);
  expect_contains(words(train, std::ssize(train.samples) - 1), "Speaker_20: \"My bike is gone!\"");
}

TEST_F(PrepareDialoguesTest, AFractionAsksAboutFewerLinesOfWholeDialogues) {
  PrepareOptions whole = options(), part = options();
  const std::int64_t all = prepare(whole).splits[0].samples;
  part.fraction = "1/4";
  const Ledger ledger = prepare(part);
  EXPECT_EQ(ledger.splits[0].samples, (all + 2) / 4);
  EXPECT_EQ(ledger.splits[0].dropped.at("not in the fraction of 1/4"), all - ledger.splits[0].samples);
  EXPECT_EQ(read(part, "test"), read(whole, "test")) << "only the train split shrinks";
  std::map<std::pair<std::string, std::string>, std::string> prompts;
  const Dataset train = read(whole), quarter = read(part);
  for (std::int64_t i = 0; i < all; ++i) {
    const UtteranceReference& u = train.utterances[static_cast<std::size_t>(i)];
    prompts[{u.dialogue, u.id}] = words(train, i);
  }
  for (std::int64_t i = 0; i < std::ssize(quarter.samples); ++i) {
    const UtteranceReference& u = quarter.utterances[static_cast<std::size_t>(i)];
    EXPECT_EQ(words(quarter, i), prompts.at({u.dialogue, u.id})) << "histories stay whole";
  }
}

TEST_F(PrepareDialoguesTest, LabelsWeighInTrainingAlone) {
  PrepareOptions weighted = options();
  weighted.auxiliary = "impact";
  weighted.auxiliary_weight = 0.25;
  weighted.label_weights = {"fear=3", "joy=0.5"};
  EXPECT_THAT(prepare(weighted).remarks, testing::Contains(testing::HasSubstr("fear 3, ")));
  const Dataset train = read(weighted), dev = read(weighted, "dev");
  for (std::size_t i = 0; i < train.samples.size(); ++i) {
    const std::string& label = train.origin.labels[static_cast<std::size_t>(train.samples[i].answer)];
    const bool is_auxiliary =
        words(train, static_cast<std::int64_t>(i)).find("Next speaks") != std::string::npos;
    const float weight = label == "fear" ? 3.0F : label == "joy" ? 0.5F : 1.0F;
    EXPECT_EQ(train.samples[i].weight, is_auxiliary ? 0.25F * weight : weight) << label;
  }
  for (const Sample& sample : dev.samples) EXPECT_EQ(sample.weight, 1.0F);

  // Balanced, each label that occurs has the same sum of weights, and their mean is 1.
  PrepareOptions balanced = options();
  balanced.label_weights = {"balanced"};
  prepare(balanced);
  const Dataset even = read(balanced);
  std::map<std::int32_t, double> sums;
  for (const Sample& sample : even.samples) sums[sample.answer] += static_cast<double>(sample.weight);
  const double each = static_cast<double>(even.samples.size()) / static_cast<double>(sums.size());
  ASSERT_GT(sums.size(), 2U);
  for (const auto& [label, sum] : sums) EXPECT_NEAR(sum, each, 1e-5 * each);

  PrepareOptions speakers = options();
  speakers.recipe = "speaker";
  speakers.label_weights = {"balanced"};
  EXPECT_THROW(prepare(speakers), ConfigurationError);
}

// Easy ones first; what is written of each is the same.
TEST_F(PrepareDialoguesTest, DialoguesOfTrainCanStandByDifficulty) {
  PrepareOptions as_read = options(), ordered = options();
  prepare(as_read);
  ordered.order = DialogueOrder::difficulty;
  EXPECT_THAT(prepare(ordered).remarks,
              testing::Contains(testing::HasSubstr("dialogues of train by difficulty")));
  EXPECT_EQ(read(ordered, "dev"), read(as_read, "dev"));

  const Dataset data = read(ordered), before = read(as_read);
  const auto dialogues_of = [](const Dataset& dataset) {
    std::vector<Dialogue> dialogues;
    for (std::int64_t tree = 0; tree < dataset.trees(); ++tree) {
      Dialogue& dialogue = dialogues.emplace_back();
      for (std::int64_t i = dataset.tree_samples[at(tree)]; i < dataset.tree_samples[at(tree + 1)]; ++i) {
        const UtteranceReference& line = dataset.utterances[at(dataset.samples[at(i)].utterance)];
        dialogue.id = line.dialogue;
        dialogue.utterances.push_back(
            {line.id, line.speaker, line.text, dataset.origin.labels[at(line.label)]});
      }
    }
    return dialogues;
  };
  std::vector<double> difficulties;
  std::multiset<std::string> ids, ids_before;
  for (const Dialogue& dialogue : dialogues_of(data)) {
    difficulties.push_back(difficulty(dialogue, EmotionWheel(), data.origin.labels.size()));
    ids.insert(dialogue.id);
  }
  for (const Dialogue& dialogue : dialogues_of(before)) ids_before.insert(dialogue.id);
  EXPECT_EQ(ids, ids_before);
  EXPECT_TRUE(std::ranges::is_sorted(difficulties));
  EXPECT_LT(difficulties.front(), difficulties.back());
  EXPECT_EQ(data.tokens.size(), before.tokens.size());
  EXPECT_NE(data.tokens, before.tokens);
}

TEST_F(PrepareDialoguesTest, AnAuxiliaryTaskEntersWithItsWeight) {
  PrepareOptions plain = options(), with = options();
  const std::int64_t samples = prepare(plain).splits[0].samples;
  with.auxiliary = "impact";
  with.auxiliary_weight = 0.25;
  const Ledger ledger = prepare(with);
  const Dataset train = read(with);
  EXPECT_EQ(train.origin.recipe_name, "shared + 0.25 x impact");
  std::int64_t auxiliary = 0;
  for (std::size_t i = 0; i < train.samples.size(); ++i) {
    const bool is_auxiliary =
        words(train, static_cast<std::int64_t>(i)).find("Next speaks") != std::string::npos;
    EXPECT_EQ(train.samples[i].weight, is_auxiliary ? 0.25F : 1.0F);
    auxiliary += is_auxiliary ? 1 : 0;
    EXPECT_EQ(train.samples[i].answer,
              train.utterances[static_cast<std::size_t>(train.samples[i].utterance)].label);
  }
  EXPECT_EQ(std::ssize(train.samples), samples + auxiliary);
  EXPECT_EQ(auxiliary, samples - 20) << "first lines have nothing before them";
  EXPECT_EQ(ledger.splits[0].notes.at("samples of the auxiliary task"), auxiliary);
  EXPECT_EQ(ledger.splits[0].notes.at("lines that show nothing before them, about which impact cannot ask"),
            20);
  EXPECT_EQ(read(with, "dev").samples, read(plain, "dev").samples) << "scoring asks the main task only";

  with = options();
  with.auxiliary = "impact";
  with.history = "1";
  prepare(with);
  const Dataset short_history = read(with);
  for (std::int64_t i = 0; i < std::ssize(short_history.samples); ++i) {
    const std::string prompt = words(short_history, i);
    const auto lines = std::count(prompt.begin(), prompt.end(), '\n');
    EXPECT_LE(lines, prompt.find("Next speaks") == std::string::npos ? 3 : 2)
        << prompt << ": the instruction, one line before, the line itself";
  }
  with = options();
  with.auxiliary = "impact";
  with.history = "0";
  EXPECT_FALSE(prepare(with).splits[0].notes.contains("samples of the auxiliary task"));

  with = options();
  with.auxiliary = "speaker";
  expect_contains(message_of<ConfigurationError>([&] { prepare(with); }), "train it as a stage of its own");
}

TEST_F(PrepareDialoguesTest, SpeakersCanBeAskedFor) {
  PrepareOptions speakers = options();
  speakers.recipe = "speaker";
  prepare(speakers);
  const Dataset train = read(speakers);
  ASSERT_GE(train.origin.labels.size(), 2U);
  EXPECT_EQ(train.origin.labels[1], "Speaker_1");
  std::map<std::string, std::map<std::string, std::int32_t>> numbers;  // of a dialogue's speakers
  for (const UtteranceReference& u : train.utterances) {
    const auto [entry, is_new] = numbers[u.dialogue].try_emplace(u.speaker, u.label);
    EXPECT_EQ(entry->second, u.label);
    EXPECT_EQ(is_new, u.label == std::ssize(numbers[u.dialogue]) - 1 && is_new) << "by first appearance";
  }
}

TEST_F(PrepareDialoguesTest, DemonstrationsStandInThePrompts) {
  PrepareOptions with = options();
  with.recipe = "retrieval";
  with.demonstrations.count = 2;
  prepare(with);
  const Dataset test = read(with, "test");
  const std::string prompt = words(test, 0);
  const std::size_t first = prompt.find("Lines from elsewhere:");
  ASSERT_NE(first, std::string::npos);
  std::size_t examples = 0;
  for (std::size_t at = prompt.find(" Feeling: ", first); at != std::string::npos;
       at = prompt.find(" Feeling: ", at + 1))
    ++examples;
  EXPECT_GE(examples, 2U);
  with = options();
  with.demonstrations.count = 1;
  expect_contains(message_of<ConfigurationError>([&] { prepare(with); }),
                  "recipe shared has no part of kind demonstrations");
}

TEST_F(PrepareDialoguesTest, CaptionsStandInThePrompts) {
  PrepareOptions with = options();
  with.recipe = "dialogue";
  const Dataset any = [&] {
    PrepareOptions plain = options();
    prepare(plain);
    return read(plain, "test");
  }();
  with.captions = folder_.write(
      "captions.jsonl", R"({"split": "test", "dialogue": ")" + any.utterances[0].dialogue +
                            R"(", "utterance": ")" + any.utterances[0].id + R"(", "text": "A cat sleeps."})");
  const Ledger ledger = prepare(with);
  const Dataset test = read(with, "test");
  expect_contains(words(test, 0), "### Video:\nA cat sleeps.");
  EXPECT_EQ(words(test, 7).find("### Video"), std::string::npos);
  EXPECT_EQ(ledger.splits[2].notes.at("utterances without {caption}"), std::ssize(test.utterances) - 1);
  with = options();
  with.captions = folder_ / "captions.jsonl";
  expect_contains(message_of<ConfigurationError>([&] { prepare(with); }),
                  "--captions: recipe shared shows no {caption}; use one with a part that says \"where\"");
  PrepareOptions same = options();
  same.recipe = "dialogue";
  same.side = {"caption=" + (folder_ / "captions.jsonl")};
  prepare(same);
  EXPECT_EQ(read(same, "test").content_hash(), test.content_hash());
}

TEST_F(PrepareDialoguesTest, SideTextsOfSpeakersStandInThePrompts) {
  PrepareOptions with = options();
  with.corpus = "jsonl";
  with.inputs = {*shared_ / "own"};
  with.recipe = "traits";
  const std::string file = folder_.write("traits.jsonl", R"({"speaker": "Lou", "text": "Lou is calm."})");
  const auto message = [&](std::vector<std::string> side, const std::string& recipe = "traits") {
    with.recipe = recipe;
    with.side = std::move(side);
    return message_of<ConfigurationError>([&] { prepare(with); });
  };
  expect_contains(message({}),
                  "recipe traits shows {traits}, and no line has it: give them by --side traits=FILE");
  expect_contains(message({"trait=" + file}),
                  "--side trait: recipe traits shows no {trait}; did you mean {traits}?");
  expect_contains(message({file}), "--side '" + file + "' must be NAME=FILE");
  expect_contains(message({"labels=" + file}), "--side labels: a side text's name has small letters");
  expect_contains(message({"traits=" + file, "traits=" + file}),
                  "--side traits: --side traits gives it as well, from " + file);
  const std::string tells = folder_.write("tells.json", R"({"name": "tells", "task": "speaker",
      "speakers": "numbered", "parts": [{"kind": "text", "text": "", "where": [{"has": ["traits"], "text": "{traits}"}]},
      {"kind": "answer", "text": "{label}"}]})");
  expect_contains(message({"traits=" + file}, tells), "texts of a speaker tell the answer of recipe tells");

  with.recipe = "traits";
  const Ledger ledger = prepare(with);
  EXPECT_EQ(ledger.splits[0].notes.at("utterances without {traits}"), 2);
  EXPECT_EQ(ledger.notes.at("texts for {traits} that fit no utterance"), 0);
  const Dataset train = read(with);
  ASSERT_EQ(train.samples.size(), 2U);
  EXPECT_EQ(words(train, 0).find("About"), std::string::npos);
  expect_contains(words(train, 1), "About Speaker_1: Lou is calm.");

  PrepareOptions other = with;
  other.output = folder_ / "other";
  other.side = {"traits=" + folder_.write("others.jsonl", R"({"speaker": "Lou", "text": "Lou is loud."})")};
  prepare(other);
  EXPECT_NE(read(other).content_hash(), train.content_hash()) << "data are what their prompts say";
}

TEST_F(PrepareDialoguesTest, LinesBringSideTextsOfTheirOwn) {
  PrepareOptions with = options();
  with.corpus = "jsonl";
  with.recipe = "traits";
  folder_.write(
      "lines/train.jsonl",
      R"({"id": "a", "utterances": [{"speaker": "Kim", "text": "Gone!", "label": "rage", "side": {"traits": "Kim rides."}},)"
      R"({"speaker": "Lou", "text": "Hm.", "label": "calm"}]})");
  with.inputs = {folder_ / "lines"};
  const Ledger ledger = prepare(with);
  EXPECT_EQ(ledger.splits[0].notes.at("utterances without {traits}"), 1);
  expect_contains(words(read(with), 0), "About Speaker_0: Kim rides.");
}

TEST_F(PrepareDialoguesTest, FeaturesTakeTheirPlacesInTheShards) {
  PrepareOptions with = options();
  with.corpus = "jsonl";
  with.inputs = {*shared_ / "own"};
  with.recipe = "features";
  with.features = folder_ / "features.h5";
  {
    Hdf5Writer file(with.features);
    for (const char* split : {"train", "dev"}) {
      for (int turn = 0; turn < 3; ++turn) {
        const auto x = static_cast<float>(turn + 1);
        file.write<float>(fmt::format("{}/a/{}", split, turn), std::vector<float>{x, -x, 0.5F * x});
      }
    }
    file.commit();
  }
  prepare(with);
  const Dataset train = read(with);
  EXPECT_EQ(train.features.width, 3);
  EXPECT_EQ(train.features.values, (std::vector<float>{1, -1, 0.5F, 2, -2, 1, 3, -3, 1.5F}));
  std::vector<std::int32_t> rows;  // of the second line: its history's, then its own
  for (const std::int32_t token : train.sequence(1).tokens) {
    if (is_feature(token)) rows.push_back(feature_row(token));
  }
  EXPECT_EQ(rows, (std::vector<std::int32_t>{0, 1}));

  with.output = folder_ / "wrapped";
  with.chat_template = "plain";
  with.tokenizer = folder_.write("t/tokenizer.json", chat_tokenizer_json("<s>", "</s>").dump());
  EXPECT_EQ(
      prepare(with).example,
      "the first of train, learned between « and »:\n<s>User: Read the conversation and name the feeling of "
      "its "
      "last line. Feelings: calm, rage.\n[feature 0]Kim: My bike is gone!\nFeeling:\nAssistant:« rage</s>»");
  const Sequence second = read(with).sequence(1);
  EXPECT_EQ(std::ranges::count_if(second.tokens, is_feature), 2);

  with = options();
  with.recipe = "features";
  expect_contains(message_of<ConfigurationError>([&] { prepare(with); }),
                  "recipe features shows features: give it a file");
  with = options();
  with.features = folder_ / "features.h5";
  expect_contains(message_of<ConfigurationError>([&] { prepare(with); }), "recipe shared shows no features");
  with.recipe = "features";
  expect_contains(message_of<DataError>([&] { prepare(with); }), "train/");
}

// A recipe within a chat template gives the conversation that the messages corpus makes of the recipe's words and a label.
TEST_F(PrepareDialoguesTest, WithinAChatTemplateAPromptIsTheConversationOfItsWords) {
  shared_->write("chatml/tokenizer.json",
                 chat_tokenizer_json("<|begin|>", "<|endoftext|>", {"<|im_start|>", "<|im_end|>"}).dump());
  const std::vector<std::pair<std::string, std::string>> cases{{"chatml", *shared_ / "chatml/tokenizer.json"},
                                                               {"llama-2", *shared_ / "t.model"},
                                                               {"plain", *shared_ / "t.model"}};
  for (const auto& [name, tokenizer] : cases) {
    PrepareOptions wrapped = options();
    wrapped.corpus = "jsonl";
    wrapped.inputs = {*shared_ / "own"};
    wrapped.chat_template = name;
    wrapped.tokenizer = tokenizer;
    const Ledger ledger = prepare(wrapped);
    EXPECT_EQ(ledger.recipe, "shared, chat template " + name);
    EXPECT_EQ(ledger.remarks, std::vector<std::string>{"chat template " + name});
    expect_contains(ledger.example, "Feeling:");
    EXPECT_LT(2 * ledger.splits[1].tokens, ledger.splits[1].unshared_tokens)
        << "history and question are shared";

    std::vector<SplitLedger> unused;
    const Corpus corpus = read_corpus("jsonl", *shared_ / "own", {}, unused);
    const Tokenizer loaded = Tokenizer::load(tokenizer);
    const PromptWriter words(Recipe::load("shared"), loaded, {corpus.labels});
    const auto message = [](const char* role, const std::string& text) {
      return nlohmann::json{{"role", role}, {"content", text}};
    };
    std::string train, dev;
    for (std::size_t turn = 0; turn < 2; ++turn) {
      const Line line{&corpus.splits[0].dialogues[0], turn};
      const auto answered = [&](const std::string& label) {
        return nlohmann::json{{"messages", {message("user", words.text(line)), message("assistant", label)}}}
                   .dump() +
               "\n";
      };
      train += answered(line.utterance().label);
      for (const std::string& label : corpus.labels) dev += answered(label);
    }
    PrepareOptions conversations = options();
    conversations.corpus = "messages";
    conversations.inputs = {"train=" + folder_.write("train.jsonl", train),
                            "dev=" + folder_.write("dev.jsonl", dev)};
    conversations.chat_template = name;
    conversations.tokenizer = tokenizer;
    prepare(conversations);
    for (const char* split : {"train", "dev"}) {
      const Dataset prompts = read(wrapped, split), messages = read(conversations, split);
      ASSERT_EQ(prompts.samples.size(), messages.samples.size()) << name << " " << split;
      for (std::int64_t i = 0; i < std::ssize(prompts.samples); ++i)
        EXPECT_EQ(prompts.sequence(i), messages.sequence(i)) << name << " " << split << " " << i;
    }
    const Dataset alone = read(wrapped);
    EXPECT_EQ(alone.origin.recipe_name, ledger.recipe);
    EXPECT_EQ(PromptForm::of(alone.origin, "train.h5").recipe.chat->name, name);
  }
}

TEST_F(PrepareDialoguesTest, AChatTemplateStandsAroundTheAuxiliaryTaskToo) {
  PrepareOptions with = options();
  with.auxiliary = "impact";
  with.chat_template = "plain";
  EXPECT_EQ(prepare(with).recipe, "shared, chat template plain + 0.1 x impact");
  const Dataset train = read(with);
  for (std::int64_t i = 0; i < std::ssize(train.samples); ++i)
    ASSERT_TRUE(words(train, i).starts_with("User: ")) << words(train, i);
  with = options();
  with.chat_template = "plain";
  with.answer_end = AnswerEnd::none;
  expect_contains(message_of<DataError>([&] { prepare(with); }), "the chat template ends answers itself");
  with.answer_end = AnswerEnd::as_recipe;
  with.chat_template = "auto";
  expect_contains(message_of<ConfigurationError>([&] { prepare(with); }), "name the one to train with");
}

// A symbol of SentencePiece that a user defined is found in any text.
TEST_F(PrepareDialoguesTest, ATextThatHoldsATokenOfTheTemplateIsNamedByItsLine) {
  folder_.write("c/train.jsonl",
                R"({"id": "a", "utterances": [{"speaker": "Kim", "text": "Say <x>!", "label": "calm"}]})");
  nlohmann::json tokenizer = chat_tokenizer_json("<s>", "</s>");
  tokenizer["added_tokens"].push_back(added_token(258, "<x>", {{"special", false}}));
  PrepareOptions with = options();
  with.corpus = "jsonl";
  with.inputs = {folder_ / "c"};
  with.tokenizer = folder_.write("t/tokenizer.json", tokenizer.dump());
  with.chat_template = folder_.write(
      "x.json",
      R"({"name": "x", "tokens": ["<x>"], "system": "{content}", "user": "<x>{content}", "assistant": {"answer": "{content}<x>"}})");
  const std::string message = message_of<DataError>([&] { prepare(with); });
  expect_contains(message, "train.jsonl:1: the text 'Read the conversation");
  expect_contains(message, "holds <x>, which the tokenizer cannot read as text");
}

TEST_F(PrepareDialoguesTest, LinesWithoutFeaturesHaveZerosAndAreCounted) {
  PrepareOptions with = options();
  with.corpus = "jsonl";
  with.inputs = {*shared_ / "own"};
  with.recipe = "features";
  with.features = folder_ / "features.h5";
  {
    Hdf5Writer file(with.features);
    for (const char* key : {"train/a/0", "train/a/2", "dev/a/1"})
      file.write<float>(key, std::vector<float>{1, 2});
    file.commit();
  }
  const Ledger ledger = prepare(with);
  EXPECT_EQ(read(with).features.values, (std::vector<float>{1, 2, 0, 0, 1, 2}));
  const std::string note = "lines without features, which have a row of zeros";
  EXPECT_EQ(ledger.splits[0].notes.at(note), 1);
  EXPECT_EQ(ledger.splits[1].notes.at(note), 2);

  with.output = folder_ / "refused";
  with.missing_features = MissingFeatures::refuse;
  expect_contains(message_of<DataError>([&] { prepare(with); }), "no array 'train/a/1'");
  with.missing_features = MissingFeatures::zeros;
  with.feature_key = "{split}/{dialogue}_{utterance}";
  expect_contains(message_of<DataError>([&] { prepare(with); }), "no array 'train/a_0'");
}

TEST_F(PrepareDialoguesTest, ASplitWithoutLabelsIsAskedAboutAndHasNoGold) {
  const std::string unlabelled =
      R"({"id": "x", "utterances": [{"speaker": "Mia", "text": "My toy broke."}, {"speaker": "Tom", "text": "Oh!"}]})";
  folder_.write("own/test.jsonl", unlabelled);
  folder_.write("own/labels.json", R"(["calm", "glad", "gloomy"])");
  PrepareOptions own = options();
  own.corpus = "jsonl";
  own.inputs = {folder_ / "own"};
  const Ledger ledger = prepare(own);
  EXPECT_EQ(ledger.splits[0].notes.at("lines without a label, which are answered and not scored"), 2);
  EXPECT_EQ(ledger.splits[0].dropped_total(), 0);
  const Dataset test = read(own, "test");
  EXPECT_FALSE(test.has_gold());
  ASSERT_EQ(test.utterances.size(), 2U);
  EXPECT_EQ(test.utterances[0].label, -1);
  EXPECT_EQ(test.samples.size(), 6U);

  // Where some line has a label, those without are context; and answers to learn cannot be made up.
  folder_.write(
      "own/test.jsonl",
      unlabelled + "\n" + R"({"id": "y", "utterances": [{"speaker": "A", "text": "B", "label": "glad"}]})");
  own.output = folder_ / "some";
  EXPECT_EQ(prepare(own).splits[0].dropped.at("without a label, context only"), 2);
  EXPECT_TRUE(read(own, "test").has_gold());
  folder_.write("own/train.jsonl", unlabelled);
  own.output = folder_ / "none";
  expect_contains(message_of<DataError>([&] { prepare(own); }), "the train split has no samples left");
}

TEST_F(PrepareDialoguesTest, LabelsThatDifferInCaseOnlyAreSaid) {
  folder_.write("own/test.jsonl",
                R"({"id": "x", "utterances": [{"speaker": "A", "text": "B", "label": "Glad"},)"
                R"({"speaker": "A", "text": "B", "label": "glad"}]})");
  PrepareOptions own = options();
  own.corpus = "jsonl";
  own.inputs = {folder_ / "own"};
  EXPECT_EQ(prepare(own).notes,
            (std::map<std::string, std::int64_t>{{"labels that differ in case only, Glad, glad", 2}}));
}

}  // namespace
}  // namespace chorus
