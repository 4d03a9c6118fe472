// Conversations with an assistant, from the user's file to an answer in chorus chat.

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "data/sets/hdf5_file.h"
#include "ops/base/error.h"
#include "tests/data/prompts/chat_tokenizer.h"
#include "tests/launch/json_lines.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;

class ChatCommand : public testing::Test {
 protected:
  ChatCommand() {
    write_text(at("t.json"),
               chat_tokenizer_json("<|begin|>", "<|endoftext|>", {"<|im_start|>", "<|im_end|>"}).dump());
    run_successfully({"init", "--tokenizer", at("t.json"), "--hidden-size", "32", "--layers", "1",
                      "--query-heads", "2", "--key-value-heads", "1", "--head-width", "16", "--max-positions",
                      "128", "--output", at("base")});
    const std::string line =
        R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes!"}]})"
        "\n";
    write_text(at("talk.jsonl"), line + line);
  }
  std::string at(const std::string& name) const { return folder_ / name; }
  std::string prepare() const {
    return run_successfully({"prepare", "--corpus", "messages", "--base", at("base"),
                             "train=" + at("talk.jsonl"), "dev=" + at("talk.jsonl"), "--output", at("data")});
  }
  // A base that has learned these tokens, since what writes them is frozen beside an adapter; and an adapter.
  void train() const {
    run_successfully({"train", "--base", at("base"), "--data", at("data"), "--output", at("full"), "--method",
                      "full", "--max-steps", "40", "--learning-rate", "2e-2"});
    run_successfully(
        {"train", "--base", at("full"), "--data", at("data"), "--output", at("run"), "--max-steps", "2"});
  }
  std::vector<std::string> chat(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words{"chat", "--base", at("full"), "--adapter", at("run")};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  void refused(const std::vector<std::string>& arguments, const std::string& part) const {
    const Outcome outcome = run_chorus(arguments);
    EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::configuration)) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(part));
  }

  TemporaryFolder folder_;
};

TEST_F(ChatCommand, AnswersAsItWasTrainedTo) {
  const std::string prepared = prepare();
  EXPECT_THAT(prepared, HasSubstr("chat template chatml: " + at("base/tokenizer.json") +
                                  " has the token <|im_start|>"));
  EXPECT_THAT(prepared, HasSubstr("talk.jsonl: OpenAI's messages"));
  EXPECT_THAT(prepared, HasSubstr("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n«Yes!<|im_end|>»"));
  EXPECT_THAT(run_successfully({"inspect", at("data/dev.h5"), "--show", "1", "--base", at("base")}),
              HasSubstr("learned between « and »\n<|im_start|>user\nHi"));
  train();
  const Outcome said = run_chorus_reading("Hi\n\nHi\n", chat());
  EXPECT_EQ(said.exit_code, 0) << said.err;
  EXPECT_EQ(said.out, "Hi\nYes!\nHi\nYes!\n")
      << "the end of the turn ends an answer, an empty line a conversation";
  EXPECT_EQ(run_chorus_reading("Hi\n", {"chat", "--base", at("full")}).out, "Hi\nYes!\n")
      << "what --method full leaves says how to ask it, too";
  const std::vector<std::string> warm{"--temperature", "5", "--max-new-tokens", "20", "--system", "S",
                                      "--seed"};
  std::vector<std::string> one = warm, other = warm;
  one.push_back("1");
  other.push_back("2");
  const std::string drawn = run_chorus_reading("Hi\n", chat(one)).out;
  EXPECT_EQ(run_chorus_reading("Hi\n", chat(one)).out, drawn);
  EXPECT_NE(run_chorus_reading("Hi\n", chat(other)).out, drawn);

  // The history stays as far as there is room: a prompt of one line takes 21 tokens.
  const Outcome shortened =
      run_chorus_reading("Hi\nHi\n", chat({"--max-tokens", "25", "--max-new-tokens", "8"}));
  EXPECT_THAT(shortened.out,
              testing::EndsWith("Hi\nYes!\n(without the first exchange, for which there was no room)\n"));
  const Outcome too_long = run_chorus_reading("Hi\n", chat({"--max-tokens", "10"}));
  EXPECT_EQ(too_long.exit_code, static_cast<int>(ExitCode::data));
  EXPECT_THAT(too_long.err, HasSubstr("is a prompt of 21 tokens, and there is room for 10"));

  write_text(at("lines.txt"), "Ann: Hi\n");
  refused({"predict", "--base", at("full"), "--adapter", at("run"), at("lines.txt")},
          "chat template chatml, which have no labels: talk with the model by `chorus chat`");
  refused({"evaluate", "--base", at("full"), "--adapter", at("run"), "--data", at("data"), "--split", "dev"},
          "have no labels, `chorus train` says their loss on dev");
}

TEST_F(ChatCommand, GeneratedLabelsEndWithTheTurn) {
  const std::string line = R"({"id": "a", "utterances": [{"speaker": "Ann", "text": "Hi", "label": "joy"}]})";
  write_text(at("own/labels.json"), R"(["joy", "anger"])");
  for (const char* split : {"train", "test"})
    write_text(at("own/" + std::string(split) + ".jsonl"), line + "\n");
  write_text(
      at("r.json"),
      R"({"name": "r", "parts": [{"kind": "text", "text": "{utterance}"}, {"kind": "answer", "text": "{label}"}]})");
  EXPECT_THAT(run_successfully({"prepare", "--corpus", "jsonl", at("own"), "--base", at("base"), "--recipe",
                                at("r.json"), "--chat-template", "auto", "--output", at("data")}),
              HasSubstr("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n«joy<|im_end|>»"));
  train();
  run_successfully({"evaluate", "--base", at("full"), "--data", at("data"), "--decode", "greedy",
                    "--predictions", at("answers.jsonl")});
  EXPECT_EQ(nlohmann::json::parse(read_text(at("answers.jsonl"))).at("answer"), "joy");
}

// From images that a file of vectors knows to answers that only these tell, and to one by words alone.
TEST_F(ChatCommand, ConversationsMayShowFeatures) {
  Hdf5Writer features(at("images.h5"));
  features.write<float>("cat", std::vector<float>{1, 0, 0, 1}, 2);
  features.write<float>("dog", std::vector<float>{-1, 0, 0, -1}, 2);
  features.commit();
  const auto row = [](const std::string& image, const std::string& answer) {
    return R"({"images": [")" + image + R"("], "messages": [{"role": "user", "content": "<image>Hi"}, )" +
           R"({"role": "assistant", "content": ")" + answer + "\"}]}\n";
  };
  write_text(at("talk.jsonl"), row("cat.jpg", "Yes!") + row("dog.jpg", "Nope"));
  std::vector<std::string> preparation{"prepare",
                                       "--corpus",
                                       "messages",
                                       "--base",
                                       at("base"),
                                       "--output",
                                       at("data"),
                                       "train=" + at("talk.jsonl"),
                                       "dev=" + at("talk.jsonl")};
  const Outcome without = run_chorus(preparation);
  EXPECT_EQ(without.exit_code, static_cast<int>(ExitCode::data));
  EXPECT_THAT(without.err, HasSubstr("talk.jsonl:1: features without a file of them"));
  preparation.insert(preparation.end(), {"--features", at("images.h5"), "--feature-rows", "2"});
  EXPECT_THAT(run_successfully(preparation), HasSubstr("user\n[features 0 to 1]Hi<|im_end|>"));
  run_successfully({"train", "--base", at("base"), "--data", at("data"), "--output", at("run"), "--method",
                    "full", "--max-steps", "80", "--learning-rate", "1e-2", "--projector-hidden", "32"});
  // Of two answers to the same words, of five tokens, none can be told without the features.
  const double loss = read_json_lines(at("run/trainer_log.jsonl")).back().at("eval_loss");
  EXPECT_LT(loss, std::log(2.0) / 5 / 2);
  const Outcome said = run_chorus_reading("Hi\n", {"chat", "--base", at("run")});
  EXPECT_EQ(said.exit_code, 0) << said.err;
  EXPECT_THAT(said.out, HasSubstr("the projector in " + at("run") + " is left out"));
}

TEST_F(ChatCommand, OptionsForOtherDataAreRefused) {
  refused({"prepare", "--corpus", "messages", "--base", at("base"), at("talk.jsonl"), "--output", at("x"),
           "--recipe", "plain"},
          "--recipe is for dialogues, this corpus is messages");
  refused({"prepare", "--corpus", "text", "--base", at("base"), at("talk.jsonl"), "--output", at("x"),
           "--loss-on", "last"},
          "--loss-on is for messages, this corpus is text");
  refused({"prepare", "--corpus", "text", "--base", at("base"), at("talk.jsonl"), "--output", at("x"),
           "--chat-template", "plain"},
          "--chat-template is for dialogues and messages, this corpus is text");
  refused({"prepare", "--corpus", "messages", "--base", at("base"), at("talk.jsonl"), "--output", at("x"),
           "--chat-template", "llama-3"},
          "has no token <|start_header_id|>, <|end_header_id|>, <|eot_id|>; it fits chatml, llama-2, "
          "mistral, alpaca, "
          "plain");
}

}  // namespace
}  // namespace chorus
