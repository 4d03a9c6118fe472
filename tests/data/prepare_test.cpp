#include "data/prepare.h"

#include <array>
#include <cmath>
#include <map>
#include <set>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "data/corpora/sample_corpus.h"
#include "data/prompts/tokenizer.h"
#include "data/sets/data_split.h"
#include "data/sets/hdf5_file.h"
#include "tests/data/feature_arrays.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

// A corpus and a tokenizer, made once.
class PrepareTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    corpus_ = new TemporaryFolder;
    write_sample_corpus(
        *corpus_ / "c",
        {.seed = 3, .train_dialogues = 12, .dev_dialogues = 3, .test_dialogues = 4, .paragraphs = 60});
    train_tokenizer({{*corpus_ / "c/pretraining.txt"}, 500, *corpus_ / "t.model"});
  }
  static void TearDownTestSuite() { delete corpus_; }

  PrepareOptions meld() const {
    PrepareOptions options;
    options.inputs = {*corpus_ / "c"};
    options.output = folder_ / "out";
    options.tokenizer = *corpus_ / "t.model";
    return options;
  }
  PrepareOptions tokens(const std::string& lines) const {
    PrepareOptions options;
    options.corpus = "tokens";
    options.inputs = {folder_.write("lines.jsonl", lines)};
    options.output = folder_ / "out";
    options.vocabulary_size = 10;
    return options;
  }

  static inline TemporaryFolder* corpus_ = nullptr;
  TemporaryFolder folder_;
};

// Of each kind of corpus: what is in shards is what would be in one file, and they are written alike each time.
TEST_F(PrepareTest, ALargerSplitIsWrittenInShards) {
  std::string lines;
  for (int line = 0; line < 60; ++line) {
    const std::string group = line % 20 == 7 ? R"(, "group": "named")" : "";
    lines += fmt::format("{{\"input_ids\": [1, {}, {}, {}, 3], \"labels\": [-100, -100, -100, -100, 3]{}}}\n",
                         line / 10 % 8, line / 4 % 8, line % 9, group);
  }
  PrepareOptions text = meld();
  text.corpus = "text";
  text.inputs = {*corpus_ / "c/pretraining.txt"};
  text.context = 24;
  PrepareOptions messages = meld();
  messages.corpus = "messages";
  messages.chat_template = "plain";
  std::string conversations;
  for (int i = 0; i < 30; ++i)
    conversations += fmt::format("{{\"instruction\": \"Say {0}\", \"output\": \"I say {0}\"}}\n", i);
  messages.inputs = {folder_.write("messages.jsonl", conversations)};
  for (PrepareOptions options : {meld(), tokens(lines), text, messages}) {
    options.output = folder_ / (options.corpus + "/whole");
    const Ledger whole = prepare(options);
    options.shard_bytes = options.corpus == "text" ? 30000 : 1000;
    options.output = folder_ / (options.corpus + "/shards");
    const Ledger sharded = prepare(options);
    EXPECT_EQ(sharded.to_json(), whole.to_json());
    EXPECT_EQ(sharded.example, whole.example);
    for (const SplitFiles& split : splits_in(folder_ / (options.corpus + "/whole"))) {
      ASSERT_EQ(split.files.size(), 1U);
      EXPECT_EQ(split.files[0].filename(), split.name + ".h5");
      const SplitFiles shards = find_split(options.output, split.name);
      EXPECT_GT(shards.files.size(), 2U) << options.corpus << " " << split.name;
      EXPECT_EQ(read_whole(shards), Dataset::read(split.files[0].string())) << options.corpus;
    }
    const std::string former = options.output;
    options.output = folder_ / (options.corpus + "/again");
    prepare(options);
    for (const auto& entry : std::filesystem::directory_iterator(former)) {
      const std::string name = entry.path().filename().string();
      EXPECT_TRUE(bytes_of(former + "/" + name) == bytes_of(options.output + "/" + name)) << name;
    }
  }
}

TEST_F(PrepareTest, TrainHoldsGoldAnswersAndTheOthersEveryLabel) {
  const Ledger ledger = prepare(meld());
  ASSERT_EQ(ledger.splits.size(), 3U);
  for (const SplitLedger& split : ledger.splits) {
    const Dataset dataset = Dataset::read(folder_ / ("out/" + split.split + ".h5"));
    EXPECT_EQ(dataset.origin.split, split.split);
    EXPECT_EQ(dataset.origin.recipe_name, "shared");
    EXPECT_FALSE(dataset.origin.recipe_text.empty());
    EXPECT_EQ(dataset.origin.tokenizer_hash, Tokenizer::load(*corpus_ / "t.model").hash());
    EXPECT_EQ(dataset.origin.vocabulary_size, 500);
    ASSERT_EQ(dataset.origin.labels.size(), 7U);
    EXPECT_EQ(std::ssize(dataset.utterances), split.utterances);
    EXPECT_EQ(std::ssize(dataset.samples), split.samples);
    EXPECT_EQ(std::ssize(dataset.tokens), split.tokens);
    EXPECT_EQ(std::ssize(dataset.targets), split.supervised_tokens);
    EXPECT_EQ(dataset.unshared_tokens(), split.unshared_tokens);
    EXPECT_EQ(dataset.trees(), split.dialogues);
    EXPECT_GT(split.sharing(), 2.0);

    std::map<std::int32_t, std::set<std::int32_t>> answers;
    for (const Sample& sample : dataset.samples) answers[sample.utterance].insert(sample.answer);
    EXPECT_EQ(std::ssize(answers), split.utterances);
    for (const auto& [utterance, given] : answers) {
      if (split.split == "train") {
        EXPECT_EQ(given, std::set{dataset.utterances[static_cast<std::size_t>(utterance)].label});
      } else {
        EXPECT_EQ(given.size(), 7U);
      }
    }
  }
  const auto json = nlohmann::json::parse(bytes_of(folder_ / "out/ledger.json"));
  EXPECT_EQ(json["splits"]["train"]["samples"], ledger.splits[0].samples);
}

TEST_F(PrepareTest, PromptsReadAsTheRecipeSays) {
  prepare(meld());
  const Tokenizer tokenizer = Tokenizer::load(*corpus_ / "t.model");
  const Dataset dataset = Dataset::read(folder_ / "out/train.h5");
  const Sequence sequence = dataset.sequence(1);
  EXPECT_EQ(sequence.tokens.front(), tokenizer.bos());
  EXPECT_EQ(sequence.tokens.back(), tokenizer.eos());
  const std::string text = tokenizer.decode(sequence.tokens);
  expect_contains(text, "Feelings: neutral, surprise, fear, sadness, joy, disgust, anger.");
  const auto gold = static_cast<std::size_t>(dataset.utterances[1].label);
  expect_contains(text, "Feeling: " + dataset.origin.labels[gold]);
}

TEST_F(PrepareTest, TooLongIsShortenedOrDroppedAndCounted) {
  PrepareOptions options = meld();
  options.max_tokens = 95;
  const SplitLedger train = prepare(options).splits[0];
  EXPECT_GT(train.shortened_samples, 0);
  EXPECT_GT(train.lines_cut, train.shortened_samples / 2);
  EXPECT_LE(train.longest_sample, 95);
  EXPECT_EQ(train.samples + train.dropped_total(), train.utterances);

  options.max_tokens = 10;
  options.output = folder_ / "none";
  expect_contains(message_of<DataError>([&] { prepare(options); }), "the train split has no samples left");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "none")) << "nothing is written before all has been read";
}

TEST_F(PrepareTest, HistoryCanBeOverridden) {
  PrepareOptions options = meld();
  options.history = "1";
  const SplitLedger one = prepare(options).splits[0];
  options.history = "";
  options.output = folder_ / "all";
  const SplitLedger all = prepare(options).splits[0];
  EXPECT_LT(one.longest_sample, all.longest_sample);
  options.history = "some";
  options.output = folder_ / "wrong";
  expect_contains(message_of<ConfigurationError>([&] { prepare(options); }), "--history is 'some'");
}

TEST_F(PrepareTest, NeverOverwritesAnOutputFolder) {
  folder_.write("out/precious.txt", "mine");
  expect_contains(message_of<ConfigurationError>([&] { prepare(meld()); }),
                  "exists and is not empty, and nothing is ever overwritten");
  EXPECT_EQ(bytes_of(folder_ / "out/precious.txt"), "mine");
  PrepareOptions options = meld();
  options.output = folder_.write("file", "x");
  expect_contains(message_of<ConfigurationError>([&] { prepare(options); }),
                  "is an existing file; name a folder");
  options.output = "";
  expect_contains(message_of<ConfigurationError>([&] { prepare(options); }), "--output is missing");
  options.output = folder_ / "empty";
  std::filesystem::create_directory(options.output);
  EXPECT_NO_THROW(prepare(options));
}

TEST_F(PrepareTest, RefusesOptionsThatDoNotFitTogether) {
  PrepareOptions options = meld();
  options.corpus = "meldd";
  expect_contains(message_of<ConfigurationError>([&] { prepare(options); }), "did you mean 'meld'?");
  options = meld();
  options.tokenizer = "";
  expect_contains(message_of<ConfigurationError>([&] { prepare(options); }), "needs a tokenizer");
  options = meld();
  options.vocabulary_size = 499;
  expect_contains(message_of<ConfigurationError>([&] { prepare(options); }),
                  "has 500 tokens but the model only 499");
  options = meld();
  options.inputs = {};
  expect_contains(message_of<ConfigurationError>([&] { prepare(options); }), "needs an input");
  options = tokens("{}");
  options.vocabulary_size = 0;
  expect_contains(message_of<ConfigurationError>([&] { prepare(options); }),
                  "needs a tokenizer or the vocabulary");
  options = tokens("{}");
  options.inputs = {"a.jsonl", "b.jsonl"};
  expect_contains(message_of<ConfigurationError>([&] { prepare(options); }), "are both for the split train");
}

TEST_F(PrepareTest, AModelMayHaveMoreTokensThanTheTokenizer) {
  PrepareOptions options = meld();
  options.vocabulary_size = 512;
  prepare(options);
  EXPECT_EQ(Dataset::read(folder_ / "out/train.h5").origin.vocabulary_size, 512);
}

TEST_F(PrepareTest, TokensKeepTheirLinesAndGroups) {
  const std::string lines = R"({"input_ids": [1, 2, 3], "labels": [-100, -100, 3]}
{"input_ids": [1, 5, 6, 7], "labels": [-100, 5, 6, 7], "group": "g"}
{"input_ids": [2, 2, 4], "labels": [-100, -100, 4]}
{"labels": [-100, -100, 8], "input_ids": [1, 5, 8], "group": "g"}
)";
  const Ledger ledger = prepare(tokens(lines));
  EXPECT_EQ(ledger.splits[0].rows_read, 4);
  EXPECT_EQ(ledger.splits[0].trees, 3);
  EXPECT_EQ(ledger.splits[0].longest_sample, 4);
  const Dataset dataset = Dataset::read(folder_ / "out/train.h5");
  EXPECT_EQ(dataset.origin.tokenizer_hash, 0U);
  EXPECT_EQ(dataset.sequence(0), (Sequence{{1, 2, 3}, {-100, -100, 3}}));
  EXPECT_EQ(dataset.sequence(1), (Sequence{{1, 5, 6, 7}, {-100, 5, 6, 7}}));
  EXPECT_EQ(dataset.sequence(2), (Sequence{{1, 5, 8}, {-100, -100, 8}}));
  EXPECT_EQ(dataset.sequence(3), (Sequence{{2, 2, 4}, {-100, -100, 4}}));
}

TEST_F(PrepareTest, TokensAreReadStrictly) {
  const std::string good = R"({"input_ids": [1, 2], "labels": [-100, 2]})"
                           "\n";
  const auto message = [&](const std::string& line) {
    return message_of<DataError>([&] { prepare(tokens(good + line + "\n")); });
  };
  expect_contains(message(R"({"input_ids": [1, 2])"), "lines.jsonl:2: is not valid JSON");
  expect_contains(message("\n{"), "lines.jsonl:3: is not valid JSON");
  expect_contains(message("[1]"), "lines.jsonl:2: must be an object, is array");
  expect_contains(message(R"({"input_ids": [1, 2]})"),
                  "lines.jsonl:2: field 'labels' is missing; there are input_ids");
  expect_contains(message(R"({"input_id": [1], "labels": [1]})"),
                  "lines.jsonl:2: field 'input_ids' is missing; there are input_id, labels");
  expect_contains(message(R"({"input_ids": [1, 2], "labels": [-100]})"),
                  "lines.jsonl:2: 2 tokens but 1 labels");
  expect_contains(message(R"({"input_ids": [1, 10], "labels": [-100, 10]})"),
                  "lines.jsonl:2: token 10 at position 1 is outside the vocabulary of 10");
  expect_contains(message(R"({"input_ids": [1, 2.5], "labels": [-100, 2]})"), "holds 2.5, which is no token");
  expect_contains(message(R"({"input_ids": [1, 18446744073709551516], "labels": [-100, 2]})"),
                  "which is no token");
  expect_contains(message(R"({"input_ids": "1 2", "labels": [-100, 2]})"), "must be an array of integers");
  expect_contains(message(R"({"input_ids": [1, 2], "labels": [3, 2]})"), "label 3 at position 0 is neither");
  expect_contains(message(R"({"input_ids": [1], "labels": [1]})"), "no token is supervised");
  expect_contains(message(R"({"input_ids": [1, 2], "labels": [-100, 2], "group": 5})"),
                  "'group' must be a string");
  expect_contains(message_of<DataError>([&] { prepare(tokens("")); }), "lines.jsonl: is empty");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));

  PrepareOptions options = tokens(good + "{}\n" + good);
  options.skip_bad_rows = true;
  const SplitLedger split = prepare(options).splits[0];
  EXPECT_EQ(split.samples, 2);
  EXPECT_EQ(split.skipped(), 1);
}

TEST_F(PrepareTest, TokensOfHuggingFaceAreUnderstood) {
  const Ledger ledger = prepare(tokens(
      R"({"input_ids": [1, 5, 6], "labels": [1, 5, 6], "length": 3, "group": null}

{"input_ids": [9, 9, 2, 3, 9], "labels": [-100, -100, 2, 3, -100], "attention_mask": [0, 0, 1, 1, 0], "position_ids": [1, 1, 0, 1, 1], "length": 5}
{"input_ids": [4, 7], "labels": [-100, 7], "attention_mask": [1, 1], "position_ids": [0, 1]}
)"));
  const SplitLedger& split = ledger.splits[0];
  EXPECT_EQ(split.rows_read, 3);
  EXPECT_EQ(split.notes,
            (std::map<std::string, std::int64_t>{{"lines with a field 'length', which is ignored", 2},
                                                 {"supervised first tokens, which nothing can predict", 2},
                                                 {"tokens of padding, left out", 3}}));
  const Dataset dataset = Dataset::read(folder_ / "out/train.h5");
  EXPECT_EQ(dataset.sequence(0), (Sequence{{1, 5, 6}, {-100, 5, 6}}));
  EXPECT_EQ(dataset.sequence(1), (Sequence{{2, 3}, {-100, 3}}));
  EXPECT_EQ(dataset.sequence(2), (Sequence{{4, 7}, {-100, 7}}));

  const auto message = [&](const std::string& more) {
    PrepareOptions options = tokens(R"({"input_ids": [1, 5, 6], "labels": [-100, 5, 6], )" + more + "}");
    options.output = folder_ / "refused";
    return message_of<DataError>([&] { prepare(options); });
  };
  expect_contains(message(R"("attention_mask": [1, 0, 1])"),
                  "lines.jsonl:1: attention_mask holds 1 at position 2");
  expect_contains(message(R"("attention_mask": [2, 1, 1])"), "attention_mask holds 2 at position 0");
  expect_contains(message(R"("attention_mask": [1, 1])"), "2 elements in attention_mask but 3 in input_ids");
  expect_contains(message(R"("attention_mask": [0, 0, 0])"), "a sample without tokens");
  expect_contains(message(R"("position_ids": [0, 1, 0])"), "lines.jsonl:1: position_ids go from 1 to 0");
  expect_contains(message(R"("position_ids": [0, 1])"), "3 tokens but 2 position_ids");
}

TEST_F(PrepareTest, TokensLongerThanTheBaseAreRefusedWithTheirLine) {
  PrepareOptions options = tokens(
      "{\"input_ids\": [1, 2, 3], \"labels\": [-100, 2, 3]}\n"
      "{\"input_ids\": [1, 2, 3], \"labels\": [-100, 2, -100]}\n");
  options.longest_text = 2;
  options.bound_of_texts = "2 positions";
  expect_contains(
      message_of<DataError>([&] { prepare(options); }),
      "lines.jsonl:2: 3 tokens, and the base has 2 positions: shorten the line, or leave it out with "
      "--skip-bad-rows");
  options.skip_bad_rows = true;
  EXPECT_EQ(prepare(options).splits[0].samples, 1) << "a supervised last token needs no position";
}

const std::array<std::string, 3> keys{"one", "group/two", "four"};

TEST_F(PrepareTest, TokensTakeFeaturesWherePlaceholdersStand) {
  PrepareOptions options = tokens(
      R"({"input_ids": [1, -200, 2, -200, 3], "labels": [-100, -100, 2, -200, 3], "features": ["group/two", "one"]}
{"input_ids": [-200, 4], "labels": [-200, 4], "features": ["four"]}
{"input_ids": [7, 8], "labels": [-100, 8], "features": []}
{"input_ids": [0, 1, -200, 2, 5], "labels": [-100, -100, -100, -100, 5], "attention_mask": [0, 1, 1, 1, 1], "features": ["group/two"]}
{"input_ids": [1, -200, 2, 6], "labels": [-100, -100, -100, 6], "features": ["four"], "position_ids": [0, 1, 2, 3]}
)");
  options.features = write_features(folder_ / "features.h5", keys);
  options.feature_rows = 2;
  options.half_precision_features = true;
  // The arrays of a split that need not have any are of the same width.
  options.inputs = {
      "train=" + options.inputs[0],
      "dev=" + folder_.write("dev.jsonl", R"({"input_ids": [1, 2], "labels": [-100, 2], "features": null})")};
  const SplitLedger ledger = prepare(options).splits[0];
  EXPECT_EQ(ledger.longest_sample, 6);
  EXPECT_EQ(ledger.notes,
            (std::map<std::string, std::int64_t>{{"supervised places of features, which are not learned", 1},
                                                 {"supervised first tokens, which nothing can predict", 1},
                                                 {"tokens of padding, left out", 1}}));

  DatasetOrigin origin;
  origin.corpora = {"tokens"};
  origin.split = "train";
  origin.vocabulary_size = 10;
  DatasetBuilder by_hand(origin);
  by_hand.set_features({3, {4, 5, 6, 7, 8, 9, 1, 2, 3, 2, 2, 2, 6, 6, 6}, true});
  const auto row = feature_token;
  using Group = std::vector<GroupSample>;
  by_hand.add_group(Group{{{{1, row(0), row(1), 2, row(2), 3}, {-100, -100, -100, 2, -100, 3}}}}, "");
  by_hand.add_group(Group{{{{row(3), row(4), 4}, {-100, -100, 4}}}}, "");
  by_hand.add_group(Group{{{{7, 8}, {-100, 8}}}}, "");
  by_hand.add_group(Group{{{{1, row(0), row(1), 2, 5}, {-100, -100, -100, -100, 5}}}}, "");
  by_hand.add_group(Group{{{{1, row(3), row(4), 2, 6}, {-100, -100, -100, -100, 6}}}}, "");
  EXPECT_EQ(Dataset::read(folder_ / "out/train.h5"), by_hand.finish());
  const Dataset dev = Dataset::read(folder_ / "out/dev.h5");
  EXPECT_EQ(dev.features, (FeatureTable{3, {}, true}));
}

// Lines that begin with the same array share its rows, those that begin with another do not.
TEST_F(PrepareTest, FeaturesOfTokensAreSharedAsTokensAre) {
  std::string lines;
  for (int line = 0; line < 6; ++line)
    lines += fmt::format(
        "{{\"input_ids\": [1, 9, 2, {0}], \"labels\": [-100, 9, -100, {0}], \"features\": [\"{1}\"]}}\n",
        3 + line % 3, line < 3 ? "four" : "group/two");
  PrepareOptions options = tokens(lines);
  options.features = write_features(folder_ / "features.h5", keys);
  options.feature_rows = 4;
  options.feature_token_id = 9;
  const SplitLedger ledger = prepare(options).splits[0];
  EXPECT_EQ(ledger.unshared_tokens, 3 * 6 + 3 * 4) << "a supervised last token takes none";
  EXPECT_EQ(ledger.tokens, 6 + 4);
  EXPECT_EQ(Dataset::read(folder_ / "out/train.h5").features.rows(), 4 + 2) << "each array is there once";
}

TEST_F(PrepareTest, FeaturesOfTokensAreReadStrictly) {
  const std::string features = write_features(folder_ / "features.h5", keys);
  {
    Hdf5Writer file(folder_ / "bad.h5");
    file.write<float>("a", std::vector<float>{1, 2});
    file.write<float>("b", std::vector<float>{1, NAN});
    file.commit();
  }
  const std::string good = R"({"input_ids": [1, 2], "labels": [-100, 2]})"
                           "\n";
  const auto with = [&](const std::string& line, const std::string& file) {
    PrepareOptions options = tokens(good + line + "\n");
    options.features = file;
    return options;
  };
  const auto message = [&](const std::string& line, const std::string& file) {
    return message_of<Error>([&] { prepare(with(line, file)); });
  };
  const std::string one = R"({"input_ids": [1, -200, 2], "labels": [-100, -100, 2], "features": )";
  expect_contains(
      message(one + R"(["one"]})", ""),
      "lines.jsonl:2: field 'features' has 1 keys: give the file that holds them with --features");
  expect_contains(message(one + R"(["one", "four"]})", features),
                  "lines.jsonl:2: input_ids have 1 places for features (--feature-token-id -200), but field "
                  "'features' has 2 keys");
  expect_contains(message(one + "null}", features), "but field 'features' has 0 keys");
  expect_contains(message(one + R"("one"})", features),
                  "lines.jsonl:2: field 'features' must be an array of keys");
  expect_contains(message(one + "[5]}", features), "holds 5, which is no key");
  expect_contains(message(one + R"([""]})", features), "which is no key");
  expect_contains(
      message(R"({"input_ids": [1, -1, -200, 2], "labels": [-100, -100, -100, 2], "features": ["one"]})",
              features),
      "lines.jsonl:2: token -1 at position 1 is no token of a vocabulary and not that of "
      "--feature-token-id, -200");
  expect_contains(
      message(R"({"input_ids": [1, -200, 2], "labels": [-100, 5, 2], "features": ["one"]})", features),
      "lines.jsonl:2: label 5 at position 1, where features stand, must be -100");
  expect_contains(
      message(R"({"input_ids": [1, -200, 11], "labels": [-100, -100, 11], "features": ["four"]})", features),
      "lines.jsonl:2: token 11 at position 2");
  expect_contains(message(one + R"(["b"]})", folder_ / "bad.h5"), "bad.h5: 'b' has nan in row 0, column 1");
  expect_contains(message(one + R"(["group"]})", features), "features.h5");
  expect_contains(message("", features), "no line of");

  // Of several rows, the length counts them all.
  PrepareOptions options = with(one + R"(["four"]})", features);
  options.feature_rows = 4;
  options.longest_text = 4;
  options.bound_of_texts = "4 positions";
  expect_contains(message_of<DataError>([&] { prepare(options); }),
                  "lines.jsonl:2: 5 tokens, and the base has 4 positions");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

TEST_F(PrepareTest, FeaturesThatTokensNameInVainAreZerosAndCounted) {
  const std::string one = R"({"input_ids": [1, -200, 2], "labels": [-100, -100, 2], "features": )";
  const std::string nowhere = one + "[\"nowhere\"]}\n";
  PrepareOptions options = tokens(nowhere + one + "[\"one\"]}\n" + nowhere);
  options.features = write_features(folder_ / "features.h5", keys);
  const SplitLedger ledger = prepare(options).splits[0];
  EXPECT_EQ(ledger.notes.at("places whose features are missing, which have a row of zeros"), 2);
  EXPECT_EQ(Dataset::read(folder_ / "out/train.h5").features.values, (std::vector<float>{0, 0, 0, 1, 2, 3}));

  options.output = folder_ / "refused";
  options.missing_features = MissingFeatures::refuse;
  expect_contains(message_of<DataError>([&] { prepare(options); }),
                  "lines.jsonl:1: " + options.features + " has no array 'nowhere'");
  options.skip_bad_rows = true;
  EXPECT_EQ(prepare(options).splits[0].skipped(), 2);

  options = tokens(nowhere + one + "[\"group/nowhere\"]}\n");
  options.features = folder_ / "features.h5";
  options.output = folder_ / "none";
  expect_contains(message_of<DataError>([&] { prepare(options); }),
                  "features.h5 has no array 'nowhere', nor any other that this split names");
}

TEST_F(PrepareTest, NeighboursThatBeginAlikeAreTrees) {
  // Two tasks; their prompts grow with a history that now and then begins anew.
  std::string lines;
  std::vector<std::vector<std::int32_t>> written;
  for (std::int32_t i = 0; i < 40; ++i) {
    std::vector<std::int32_t> ids{1, i < 20 ? 2 : 3, 4, 4};
    for (std::int32_t turn = 0; turn <= i % 10; ++turn) ids.push_back(5 + (i / 10 + turn) % 5);
    written.push_back(ids);
    std::vector<std::int32_t> labels(ids.size(), -100);
    labels.back() = ids.back();
    lines += nlohmann::json{{"input_ids", ids}, {"labels", labels}}.dump() + "\n";
  }
  const auto sequences_of = [&](const PrepareOptions& options) {
    const Dataset dataset = Dataset::read(options.output + "/train.h5");
    std::vector<std::vector<std::int32_t>> sequences;
    for (std::int64_t i = 0; i < std::ssize(dataset.samples); ++i)
      sequences.push_back(dataset.sequence(i).tokens);
    return sequences;
  };
  PrepareOptions options = tokens(lines);
  options.lines_per_tree = 1;
  const SplitLedger apart = prepare(options).splits[0];
  EXPECT_EQ(apart.trees, 40);
  EXPECT_EQ(apart.tokens, apart.unshared_tokens);
  EXPECT_EQ(sequences_of(options), written) << "in the order of the file";

  options.lines_per_tree = 8;
  options.output = folder_ / "trees";
  const SplitLedger together = prepare(options).splits[0];
  EXPECT_EQ(together.unshared_tokens, apart.tokens);
  EXPECT_GT(together.sharing(), 2.5);
  EXPECT_EQ(sequences_of(options), written) << "in the order of the file";
  const Dataset dataset = Dataset::read(folder_ / "trees/train.h5");
  for (std::size_t tree = 0; tree + 1 < dataset.tree_samples.size(); ++tree) {
    EXPECT_LE(dataset.tree_samples[tree + 1] - dataset.tree_samples[tree], 8);
    std::set<std::int32_t> tasks;
    for (std::int64_t i = dataset.tree_samples[tree]; i < dataset.tree_samples[tree + 1]; ++i)
      tasks.insert(dataset.sequence(i).tokens[1]);
    EXPECT_EQ(tasks.size(), 1U) << "a token alone is not worth a tree";
  }
  options.output = folder_ / "again";
  prepare(options);
  EXPECT_EQ(Dataset::read(folder_ / "again/train.h5"), dataset);
}

TEST_F(PrepareTest, AFailureLeavesNothingBehind) {
  PrepareOptions options = tokens(R"({"input_ids": [1, 2], "labels": [-100, 2]})");
  // The second split's file has no room for the name it is written under.
  options.inputs = {"train=" + options.inputs[0], std::string(252, 'x') + "=" + options.inputs[0]};
  EXPECT_NE(message_of<DataError>([&] { prepare(options); }), "[no exception]");
  EXPECT_FALSE(std::filesystem::exists(options.output));
  std::filesystem::create_directory(options.output);
  EXPECT_NE(message_of<DataError>([&] { prepare(options); }), "[no exception]");
  EXPECT_TRUE(std::filesystem::is_empty(options.output)) << "a folder that was there stays";
}

// What a killed process left is beside the output, and goes; what is written appears at once.
TEST_F(PrepareTest, TheFolderAppearsWholeAndReplacesWhatWasNotFinished) {
  PrepareOptions options = tokens(R"({"input_ids": [1, 2], "labels": [-100, 2]})");
  options.config = "of = this";
  folder_.write("out.part/dev.h5", "half");
  folder_.write("out/run.lock", "");
  bool seen = false;
  prepare(options, [&](std::string_view, std::int64_t, std::int64_t) {
    seen = true;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out/train.h5"));
  });
  EXPECT_TRUE(seen);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.part"));
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "out"))
    files.insert(entry.path().filename());
  EXPECT_EQ(files, (std::set<std::string>{"config.ini", "ledger.json", "train.h5"}));
  EXPECT_EQ(bytes_of(folder_ / "out/config.ini"), "of = this");
}

// As one that a container has mounted.
TEST_F(PrepareTest, AFolderThatCannotBeReplacedIsFilled) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  PrepareOptions options = tokens(R"({"input_ids": [1, 2], "labels": [-100, 2]})");
  options.output = folder_ / "kept/out";
  std::filesystem::create_directories(options.output);
  std::filesystem::permissions(folder_ / "kept",
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  prepare(options);
  std::filesystem::permissions(folder_ / "kept", std::filesystem::perms::owner_all);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "kept/out/train.h5"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "kept/out/ledger.json"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "kept/out/.part"));
}

TEST_F(PrepareTest, SplitsOfFilesCanBeNamed) {
  const std::string line = R"({"input_ids": [1, 2], "labels": [-100, 2]})";
  PrepareOptions options = tokens(line);
  options.inputs = {"train=" + folder_.write("a", line), "dev=" + folder_.write("b", line)};
  prepare(options);
  EXPECT_EQ(Dataset::read(folder_ / "out/dev.h5").origin.split, "dev");
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out/train.h5"));
  options.output = folder_ / "validation";
  options.inputs[1] = "validation=" + (folder_ / "b");
  prepare(options);
  EXPECT_EQ(Dataset::read(folder_ / "validation/dev.h5").origin.split, "dev");
  options.output = folder_ / "again";
  options.inputs = {"../x=" + (folder_ / "a")};
  expect_contains(message_of<ConfigurationError>([&] { prepare(options); }), "cannot be the name of a split");
}

TEST_F(PrepareTest, TextIsPackedAndEveryTokenPredictedOnce) {
  const Tokenizer tokenizer = Tokenizer::load(*corpus_ / "t.model");
  std::string long_paragraph;
  for (int i = 0; i < 30; ++i) long_paragraph += "Mia was happy because Leo won. ";
  PrepareOptions options;
  options.corpus = "text";
  options.inputs = {
      folder_.write("t.txt", "First.\nSecond line.\n\n\n \nAnother one.\r\n\r\n" + long_paragraph + "\n")};
  options.output = folder_ / "out";
  options.tokenizer = *corpus_ / "t.model";
  options.context = 32;
  const Ledger ledger = prepare(options);
  EXPECT_EQ(ledger.splits[0].rows_read, 3);
  EXPECT_LE(ledger.splits[0].longest_sample, 32);
  const Dataset dataset = Dataset::read(folder_ / "out/train.h5");

  std::vector<std::int32_t> stream;
  for (const std::string& text :
       {std::string("First.\nSecond line."), std::string("Another one."), long_paragraph}) {
    stream.push_back(tokenizer.bos().value());
    for (const std::int32_t token : tokenizer.encode(text)) stream.push_back(token);
    stream.push_back(tokenizer.eos());
  }
  std::vector<std::int32_t> rebuilt;
  for (std::int64_t sample = 0; sample < std::ssize(dataset.samples); ++sample) {
    const Sequence sequence = dataset.sequence(sample);
    EXPECT_LE(sequence.tokens.size(), 32U);
    EXPECT_TRUE(std::equal(sequence.labels.begin() + 1, sequence.labels.end(), sequence.tokens.begin() + 1));
    // A piece of a longer paragraph repeats the token before it.
    const bool continues = sequence.tokens[0] != tokenizer.bos();
    if (continues) {
      EXPECT_EQ(sequence.tokens[0], rebuilt.back());
    }
    rebuilt.insert(rebuilt.end(), sequence.tokens.begin() + (continues ? 1 : 0), sequence.tokens.end());
  }
  EXPECT_EQ(rebuilt, stream);
}

TEST_F(PrepareTest, ProgressReachesItsEnd) {
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> last;
  prepare(meld(), [&](std::string_view what, std::int64_t done, std::int64_t total) {
    EXPECT_LE(done, total);
    last[std::string(what)] = {done, total};
  });
  EXPECT_EQ(last.size(), 3U);
  for (const auto& [what, counts] : last) EXPECT_EQ(counts.first, counts.second) << what;
}

// Prompts of InstructERC's form, as another program would write them, share nearly what the dialogues do.
TEST_F(PrepareTest, MeldAsTokenListsIsSharedAsTrees) {
  const std::string meld_file = real_file("data/meld/train_sent_emo.csv"),
                    model = real_file("models/stories3M/tokenizer.model");
  if (meld_file.empty() || model.empty()) GTEST_SKIP() << not_there("data/meld or models/stories3M");
  const std::string rows = bytes_of(meld_file);
  std::size_t end = 0;
  for (int line = 0; line <= 320; ++line) end = rows.find('\n', end) + 1;
  folder_.write("meld/train_sent_emo.csv", rows.substr(0, end));
  PrepareOptions options = meld();
  options.inputs = {folder_ / "meld"};
  options.tokenizer = model;
  options.recipe = "window";
  const SplitLedger dialogues = prepare(options).splits[0];
  EXPECT_EQ(dialogues.samples, 320);
  const Dataset dataset = Dataset::read(options.output + "/train.h5");
  std::string lines;
  for (std::int64_t i = 0; i < std::ssize(dataset.samples); ++i) {
    const Sequence sequence = dataset.sequence(i);
    lines += nlohmann::json{{"input_ids", sequence.tokens}, {"labels", sequence.labels}}.dump() + "\n";
  }
  PrepareOptions lists = tokens(lines);
  lists.vocabulary_size = dataset.origin.vocabulary_size;
  lists.output = folder_ / "lists";
  const SplitLedger trees = prepare(lists).splits[0];
  EXPECT_EQ(trees.unshared_tokens, dialogues.unshared_tokens);
  EXPECT_GT(trees.sharing(), 1.95);
  EXPECT_GT(trees.sharing(), 0.9 * dialogues.sharing());
}

TEST_F(PrepareTest, MeldWithTheLlamaTokenizer) {
  const std::string folder = real_file("data/meld"),
                    model = real_file("models/llama2-tokenizer/tokenizer.model");
  if (folder.empty() || model.empty()) GTEST_SKIP() << not_there("data/meld or models/llama2-tokenizer");
  PrepareOptions options = meld();
  options.inputs = {folder};
  options.tokenizer = model;
  const Ledger ledger = prepare(options);
  EXPECT_EQ(ledger.splits[0].samples, 9989);
  EXPECT_EQ(ledger.splits[1].samples, 7 * 1109);
  EXPECT_EQ(ledger.splits[2].samples, 7 * 2610);
  EXPECT_EQ(ledger.splits[0].dropped_total(), 0);
  EXPECT_GT(ledger.splits[0].sharing(), 6.0);
  EXPECT_GT(ledger.splits[2].sharing(), 30.0);
}

}  // namespace
}  // namespace chorus
