#include <algorithm>

#include <nlohmann/json.hpp>

#include "data/prepare.h"
#include "data/prompts/chat_writer.h"
#include "data/prompts/prompt_form.h"
#include "data/sets/dataset.h"
#include "data/text/row_error.h"
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

}  // namespace
}  // namespace chorus
