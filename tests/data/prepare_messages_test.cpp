#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "data/prepare.h"
#include "data/prompts/chat_writer.h"
#include "data/prompts/prompt_form.h"
#include "data/sets/dataset.h"
#include "data/text/row_error.h"
#include "tests/data/feature_arrays.h"
#include "tests/data/prompts/chat_tokenizer.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

class PrepareMessagesTest : public testing::Test {
 protected:
  PrepareMessagesTest() { folder_.write("t/tokenizer.json", chat_tokenizer_json("<s>", "</s>").dump()); }
  PrepareOptions options(const std::string& lines) const {
    PrepareOptions options;
    options.corpus = "messages";
    options.inputs = {folder_.write("lines.jsonl", lines)};
    options.output = folder_ / "out";
    options.tokenizer = folder_ / "t/tokenizer.json";
    options.chat_template = "plain";
    return options;
  }
  // What the samples of a split are, one a line.
  std::string samples(const std::string& split = "train") const {
    const Tokenizer tokenizer = Tokenizer::load(folder_ / "t/tokenizer.json");
    const Dataset dataset = Dataset::read(folder_ / ("out/" + split + ".h5"));
    std::string text;
    for (std::int64_t i = 0; i < std::ssize(dataset.samples); ++i) {
      std::string sample = marked_text(dataset.sequence(i), tokenizer);
      std::ranges::replace(sample, '\n', '/');
      text += sample + "\n";
    }
    return text;
  }

  TemporaryFolder folder_;
};

std::string conversation(const std::vector<std::string>& turns, const std::string& system = "") {
  nlohmann::json list = nlohmann::json::array();
  if (!system.empty()) list.push_back({{"from", "system"}, {"value", system}});
  for (const std::string& turn : turns)
    list.push_back(
        {{"from", list.size() % 2 == (system.empty() ? 0 : 1) ? "human" : "gpt"}, {"value", turn}});
  return nlohmann::json{{"conversations", list}}.dump() + "\n";
}

TEST_F(PrepareMessagesTest, EveryAnswerOrTheLastIsLearned) {
  PrepareOptions choices = options(conversation({"a", "b", "c", "d"}, "S") + conversation({"e", "f"}));
  const Ledger ledger = prepare(choices);
  EXPECT_EQ(samples(),
            "<s>S//User: a/Assistant:« b</s>»/User: c/Assistant:« d</s>»\n"
            "<s>User: e/Assistant:« f</s>»\n");
  const SplitLedger& train = ledger.splits.at(0);
  EXPECT_EQ(train.rows_read, 2);
  EXPECT_EQ(train.dialogues, 2);
  EXPECT_EQ(train.utterances, 6);
  EXPECT_EQ(train.trees, 2);
  EXPECT_EQ(train.supervised_tokens, 9);
  EXPECT_EQ(train.shortened_samples, 0);
  EXPECT_EQ(ledger.recipe, "plain");
  ASSERT_EQ(ledger.remarks.size(), 2U);
  EXPECT_EQ(ledger.remarks[0], "chat template plain");
  expect_contains(ledger.remarks[1], "lines.jsonl: ShareGPT's conversations");
  expect_contains(ledger.to_table(), ledger.remarks[1]);
  const Dataset dataset = Dataset::read(folder_ / "out/train.h5");
  const PromptForm form = PromptForm::of(dataset.origin, "train.h5");
  ASSERT_TRUE(form.chat.has_value());
  EXPECT_EQ(form.chat->name, "plain");
  EXPECT_FALSE(dataset.has_gold());

  std::filesystem::remove_all(folder_ / "out");
  choices.loss_on = LossOn::last;
  choices.system = "T";
  prepare(choices);
  EXPECT_EQ(samples(),
            "<s>S//User: a/Assistant: b</s>/User: c/Assistant:« d</s>»\n"
            "<s>T//User: e/Assistant:« f</s>»\n");
}

TEST_F(PrepareMessagesTest, WhatIsTooLongIsCutAtTheBordersOfExchanges) {
  // Of one exchange: <s>, S and two line breaks, 8 of "User: a/", 12 of "Assistant: b", </s>
  // and, before another one, a line break.
  const std::string lines = conversation({"a", "b", "c", "d", "e", "f"}, "S") +
                            conversation({"g", std::string(40, 'h'), "i", "j"}, "S") +
                            conversation({"k", "l"});
  PrepareOptions choices = options(lines);
  choices.max_tokens = 47;
  const Ledger split = prepare(choices);
  EXPECT_EQ(samples(),
            "<s>S//User: a/Assistant:« b</s>»/User: c/Assistant:« d</s>»\n"
            "<s>S//User: e/Assistant:« f</s>»\n"
            "<s>S//User: i/Assistant:« j</s>»\n"
            "<s>User: k/Assistant:« l</s>»\n");
  EXPECT_EQ(split.splits[0].longest_sample, 47);
  EXPECT_EQ(split.splits[0].shortened_samples, 2);
  EXPECT_EQ(split.splits[0].trees, 3);
  EXPECT_EQ(split.splits[0].notes.at("conversations split at the borders of exchanges"), 1);
  EXPECT_EQ(split.splits[0].dropped.at("exchanges of more than 47 tokens"), 1);

  std::filesystem::remove_all(folder_ / "out");
  choices.loss_on = LossOn::last;
  const Ledger cut = prepare(choices);
  EXPECT_EQ(samples(),
            "<s>S//User: c/Assistant: d</s>/User: e/Assistant:« f</s>»\n"
            "<s>S//User: i/Assistant:« j</s>»\n"
            "<s>User: k/Assistant:« l</s>»\n");
  EXPECT_EQ(cut.splits[0].shortened_samples, 2);
  EXPECT_EQ(cut.splits[0].lines_cut, 4);

  std::filesystem::remove_all(folder_ / "out");
  choices.max_tokens = 10;
  expect_contains(message_of<DataError>([&] { prepare(choices); }),
                  "the train split has no samples left: 3 dropped");
}

TEST_F(PrepareMessagesTest, BadRowsEndItOrAreCounted) {
  const std::string lines = conversation({"a", "b"}) + "{\"conversations\": []}\n" +
                            R"({"conversations": [{"from": "gpt", "value": "x"}]})"
                            "\n" +
                            conversation({"c", "d"});
  PrepareOptions choices = options(lines);
  choices.chat_template = "llama-2";
  expect_contains(message_of<RowError>([&] { prepare(choices); }), "lines.jsonl:2: no turns");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
  choices.skip_bad_rows = true;
  const Ledger ledger = prepare(choices);
  EXPECT_EQ(ledger.splits[0].rows_read, 4);
  EXPECT_EQ(ledger.splits[0].samples, 2);
  EXPECT_EQ(ledger.splits[0].skipped_rows,
            (std::map<std::string, std::int64_t>{{"no turns", 1},
                                                 {"turns in an order that the chat template has not", 1}}));
}

TEST_F(PrepareMessagesTest, AFolderHoldsItsSplits) {
  folder_.write("corpus/validation.json", "[" + conversation({"a", "b"}) + "]");
  folder_.write("corpus/train.jsonl", R"({"instruction": "c", "output": "d"})");
  folder_.write("corpus/dataset_info.json", "{}");
  PrepareOptions choices = options("");
  choices.inputs = {folder_ / "corpus"};
  prepare(choices);
  EXPECT_EQ(samples(), "<s>User: c/Assistant:« d</s>»\n");
  EXPECT_EQ(samples("dev"), "<s>User: a/Assistant:« b</s>»\n");
  folder_.write("corpus/dev.jsonl", conversation({"a", "b"}));
  choices.output = folder_ / "other";
  expect_contains(message_of<ConfigurationError>([&] { prepare(choices); }), "are both for the split dev");
  folder_.write("empty/readme.txt", "");
  choices.inputs = {folder_ / "empty"};
  expect_contains(message_of<DataError>([&] { prepare(choices); }), "empty: has no train.jsonl");
}

const std::array<std::string, 3> keys{"a/1.jpg", "a/2", "3"};

std::string with_images(const std::vector<std::string>& images, const std::vector<std::string>& turns,
                        const std::string& system = "") {
  nlohmann::json row = nlohmann::json::parse(conversation(turns, system));
  row["images"] = images;
  return row.dump() + "\n";
}

TEST_F(PrepareMessagesTest, FeaturesStandWhereTheirPlaceholdersDo) {
  PrepareOptions choices = options(with_images({"a/1.jpg", "a/2.png"}, {"<image>a<image>", "b"}) +
                                   conversation({"c <image>", "d"}) +
                                   with_images({"x/3.jpg", "a/2.png"}, {"e", "f", "<image><image>g", "h"}));
  choices.features = write_features(folder_ / "features.h5", keys);
  choices.feature_rows = 2;
  choices.half_precision_features = true;
  const Ledger ledger = prepare(choices);
  EXPECT_EQ(samples(),
            "<s>User: [feature 0]a[features 1 to 2]/Assistant:« b</s>»\n"
            "<s>User: c <image>/Assistant:« d</s>»\n"
            "<s>User: e/Assistant:« f</s>»/User: [features 3 to 4][features 1 to 2]g/Assistant:« h</s>»\n");
  const Dataset dataset = Dataset::read(folder_ / "out/train.h5");
  EXPECT_EQ(dataset.features, (FeatureTable{3, {1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 2, 2, 6, 6, 6}, true}))
      << "each array is there once, found by its name, without the extension or by the file's own";
  EXPECT_TRUE(ledger.splits[0].notes.empty());
}

// The same samples as token lists are the same data.
TEST_F(PrepareMessagesTest, TheyAreWhatTokenListsWithFeaturesAre) {
  PrepareOptions choices =
      options(with_images({"a/1.jpg", "3"}, {"<image>\na <image>?", "b", "c", "d"}, "S<image>") +
              with_images({"a/1.jpg"}, {"<image>\ne", "f"}));
  choices.features = write_features(folder_ / "features.h5", keys);
  choices.feature_rows = 4;
  expect_contains(message_of<RowError>([&] { prepare(choices); }), "'images' has 2 keys");
  choices.inputs = {folder_.write(
      "good.jsonl",
      with_images({"a/1.jpg", "a/1.jpg", "3"}, {"<image>\na <image>?", "b", "c", "d"}, "S<image>") +
          with_images({"a/2"}, {"<image>\ne", "f"}))};
  prepare(choices);
  const Dataset told = Dataset::read(folder_ / "out/train.h5");

  const Tokenizer tokenizer = Tokenizer::load(choices.tokenizer);
  std::string lines;
  const auto add_line = [&](const std::vector<std::pair<std::string, bool>>& words,
                            const std::vector<std::string>& keys) {
    nlohmann::json ids = nlohmann::json::array({tokenizer.beginning()[0]}), labels{unsupervised};
    for (const auto& [text, learned] : words) {
      std::vector<std::int32_t> more = tokenizer.encode(text);
      if (text == "<image>") more = {-200};
      if (learned) more.push_back(tokenizer.eos());
      for (const std::int32_t id : more) {
        ids.push_back(id);
        labels.push_back(learned ? id : unsupervised);
      }
    }
    lines += nlohmann::json{{"input_ids", ids}, {"labels", labels}, {"features", keys}}.dump() + "\n";
  };
  add_line({{"S", false},
            {"<image>", false},
            {"\n\nUser: ", false},
            {"<image>", false},
            {"\na ", false},
            {"<image>", false},
            {"?\nAssistant:", false},
            {" b", true},
            {"\nUser: c\nAssistant:", false},
            {" d", true}},
           {"a/1.jpg", "a/1.jpg", "3"});
  add_line({{"User: ", false}, {"<image>", false}, {"\ne\nAssistant:", false}, {" f", true}}, {"a/2"});
  PrepareOptions lists = choices;
  lists.corpus = "tokens";
  lists.lines_per_tree = 1;
  lists.inputs = {folder_.write("lists.jsonl", lines)};
  lists.output = folder_ / "lists";
  prepare(lists);
  Dataset listed = Dataset::read(folder_ / "lists/train.h5");
  EXPECT_EQ(listed.features.rows(), 1 + 4 + 2);
  listed.origin = told.origin;
  EXPECT_EQ(listed, told);
}

// Rows count as tokens, and the pieces of what is cut have the rows of their own places.
TEST_F(PrepareMessagesTest, PiecesOfAConversationHaveTheirOwnFeatures) {
  PrepareOptions choices = options(with_images({"3", "a/1.jpg", "a/2", "a/1.jpg"},
                                               {"<image>", "b", "<image>", "d", "<image>", "f"}, "S<image>"));
  choices.features = write_features(folder_ / "features.h5", keys);
  choices.feature_rows = 4;
  // <s>, S, 4 rows, two line breaks, 6 of "User: ", 1 row, 13 of "/Assistant: b" and </s>; behind a line break again 6, 2 rows
  // and 14.
  choices.max_tokens = 52;
  const std::string first = "<s>S[features 0 to 3]//User: [feature 4]/Assistant:";
  const Ledger split = prepare(choices);
  EXPECT_EQ(samples(),
            first + "« b</s>»/User: [features 5 to 6]/Assistant:« d</s>»\n" + first + "« f</s>»\n");
  EXPECT_EQ(split.splits[0].longest_sample, 52);
  EXPECT_EQ(split.splits[0].shortened_samples, 2);

  std::filesystem::remove_all(folder_ / "out");
  choices.max_tokens = 51;
  EXPECT_EQ(prepare(choices).splits[0].samples, 3);
  std::filesystem::remove_all(folder_ / "out");
  choices.loss_on = LossOn::last;
  choices.max_tokens = 52;
  prepare(choices);
  EXPECT_EQ(samples(),
            "<s>S[features 0 to 3]//User: [features 5 to 6]/Assistant: d</s>/User: [feature 4]/Assistant:« "
            "f</s>»\n");
}

TEST_F(PrepareMessagesTest, FeaturesThatAreMissingAreZerosOrRefused) {
  const std::string lines =
      with_images({"b/4.jpg", "a/2"}, {"<image><image>a", "b"}) + with_images({"b/4.jpg"}, {"<image>c", "d"});
  PrepareOptions choices = options(lines);
  choices.features = write_features(folder_ / "features.h5", keys);
  const Ledger ledger = prepare(choices);
  EXPECT_EQ(ledger.splits[0].notes.at("places whose features are missing, which have a row of zeros"), 2);
  EXPECT_EQ(Dataset::read(folder_ / "out/train.h5").features.values,
            (std::vector<float>{0, 0, 0, 5.5F, 6.5F, 7.5F}));

  choices.output = folder_ / "refused";
  choices.missing_features = MissingFeatures::refuse;
  expect_contains(message_of<RowError>([&] { prepare(choices); }),
                  "lines.jsonl:1: " + choices.features + " has no array 'b/4.jpg' or 'b/4' or '4'");
  choices.skip_bad_rows = true;
  choices.inputs.push_back("dev=" + folder_.write("dev.jsonl", with_images({"3"}, {"<image>c", "d"})));
  expect_contains(message_of<DataError>([&] { prepare(choices); }), "2 rows skipped");

  choices = options(with_images({"4"}, {"<image>c", "d"}));
  choices.features = folder_ / "features.h5";
  choices.output = folder_ / "none";
  expect_contains(message_of<DataError>([&] { prepare(choices); }),
                  "has no array '4', nor any other that this split names");
}

TEST_F(PrepareMessagesTest, FeaturesAreReadStrictly) {
  const std::string text = conversation({"a", "b"});
  PrepareOptions choices = options(text + with_images({"a/1.jpg"}, {"<image>a", "b"}));
  expect_contains(
      message_of<RowError>([&] { prepare(choices); }),
      "lines.jsonl:2: features without a file of them: the conversation shows 'a/1.jpg': give the "
      "HDF5 file that holds its vectors with --features, or pass over such rows with --skip-bad-rows");
  choices.skip_bad_rows = true;
  const Ledger ledger = prepare(choices);
  EXPECT_EQ(ledger.splits[0].skipped_rows.at("features without a file of them"), 1);
  EXPECT_EQ(Dataset::read(folder_ / "out/train.h5").features.width, 0);

  const auto message = [&](const std::string& lines) {
    PrepareOptions refused = options(lines);
    refused.features = write_features(folder_ / "features.h5", keys);
    refused.output = folder_ / "refused";
    const std::string said = message_of<Error>([&] { prepare(refused); });
    std::filesystem::remove(refused.features);
    return said;
  };
  expect_contains(message(text), "--features: no conversation of ");
  expect_contains(message(with_images({"a/2.jpg", "a/2.png"}, {"<image><image>a", "b"})),
                  "lines.jsonl:1: 'a/2.png' and 'a/2.jpg' would both be the array 'a/2' of ");
  expect_contains(message(with_images({"a"}, {"<image>a", "b"})), "features.h5");
}

}  // namespace
}  // namespace chorus
