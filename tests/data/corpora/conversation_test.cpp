#include "data/corpora/conversation.h"

#include <algorithm>

#include "data/text/row_error.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

using Role = Message::Role;

class ConversationFileTest : public testing::Test {
 protected:
  ConversationFile file(const std::string& text) const {
    return ConversationFile(folder_.write("lines.jsonl", text));
  }
  std::vector<Message> messages(const std::string& text) { return file(text).next(ledger_)->messages; }
  std::string row_error(const std::string& text, std::int64_t row = 0) {
    ConversationFile conversations = file(text);
    for (; row > 0; --row) conversations.next(ledger_);
    return message_of<RowError>([&] { conversations.next(ledger_); });
  }
  // Of an OpenAI conversation that holds these turns.
  std::string turns_error(const std::string& turns) {
    return row_error(R"(
{"messages": [)" + turns +
                     "]}");
  }

  TemporaryFolder folder_;
  SplitLedger ledger_;
};

std::string described(const std::vector<Message>& messages) {
  std::string text;
  for (const Message& message : messages) {
    text += message.role == Role::system ? "S" : message.role == Role::user ? "U" : "A";
    std::string words = message.content + (message.input.empty() ? "" : "|" + message.input);
    std::ranges::replace(words, feature_place, '*');
    text += fmt::format("({})", words);
    if (!message.trained) text += "-";
    if (!message.keys.empty()) text += fmt::format("[{}]", joined(message.keys, " "));
  }
  return text;
}

TEST_F(ConversationFileTest, ThreeFormsAreRead) {
  EXPECT_EQ(
      described(messages(
          R"({"messages": [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "Hi"}, )"
          R"({"role": "assistant", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}], )"
          R"("weight": 0, "tool_calls": []}, {"role": "user", "content": "You?"}, )"
          R"({"role": "assistant", "content": "Fine", "weight": 1}], "tools": null, "id": 7})")),
      "S(Be kind.)U(Hi)A(Hello)-U(You?)A(Fine)");
  EXPECT_EQ(
      described(messages(R"({"id": "1", "system": "", "conversations": [{"from": "system", "value": "S"}, )"
                         R"({"from": "human", "value": " Hi "}, {"from": "gpt", "value": "Hello"}]})")),
      "S(S)U( Hi )A(Hello)");
  EXPECT_EQ(
      described(messages(
          R"({"instruction": "Add", "input": "1 2", "output": "3", "system": "Sums", "history": [["A", "B"]]})")),
      "S(Sums)U(A)A(B)U(Add|1 2)A(3)");
  EXPECT_EQ(described(messages(R"({"instruction": "Hi", "input": "", "output": "Yes", "history": []})")),
            "U(Hi)A(Yes)");
  EXPECT_EQ(file(R"({"messages": []})").form(), "OpenAI's messages");
  EXPECT_EQ(file("no JSON\n"
                 R"({"conversations": []})")
                .form(),
            "ShareGPT's conversations");
  EXPECT_EQ(file(R"({"instruction": "", "output": ""})").form(), "Alpaca's instructions");
}

TEST_F(ConversationFileTest, AnArrayIsReadElementByElement) {
  ConversationFile conversations = file(
      "\xEF\xBB\xBF[\n  {\"instruction\": \"a ] , \\\" [ {\",\n   \"output\": \"b\"},\n\n  {\"instruction\": "
      "\"c\",\n"
      "   \"output\": \"d\"}, {\"instruction\": \"e\", \"output\": 3}\n]\n");
  ASSERT_EQ(conversations.rows(), 3);
  EXPECT_EQ(described(conversations.next(ledger_)->messages), "U(a ] , \" [ {)A(b)");
  EXPECT_EQ(conversations.next(ledger_)->line, 5);
  expect_contains(message_of<RowError>([&] { conversations.next(ledger_); }),
                  "lines.jsonl:6: no text: 'output' is number");
  EXPECT_FALSE(conversations.next(ledger_));
  const auto broken = [&](const std::string& text) { return message_of<DataError>([&] { file(text); }); };
  expect_contains(broken("[{}\n"), "lines.jsonl:2: no JSON array: it has no end");
  expect_contains(broken("[{}\n] x"), "lines.jsonl:2: no JSON array: something stands behind the end");
  expect_contains(broken("[{},,{}]"), "no JSON array: an element is missing");
  expect_contains(broken("[\n\"a"), "no JSON array: it has no end");
  expect_contains(broken("[]"), "lines.jsonl:1: no JSON object is none of the forms of conversations");
  expect_contains(broken(" \n"), "lines.jsonl: is empty");
}

TEST_F(ConversationFileTest, WhatIsNoConversationIsNamedWithItsLine) {
  expect_contains(message_of<DataError>([&] { file("\n{\"text\": \"x\", \"id\": 1}"); }),
                  "lines.jsonl:2: an object with id, text is none of the forms of conversations: "
                  "{\"messages\": [{\"role\", \"content\"}]}");
  const std::string good =
      R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})";
  expect_contains(row_error(good + "\n{\"messages\"\n", 1), "lines.jsonl:2: no JSON: ");
  expect_contains(row_error(good + "\n"
                                   R"({"instruction": "a", "output": "b"})",
                            1),
                  "lines.jsonl:2: another form: the file begins with OpenAI's messages");
  expect_contains(row_error(good + "\n{\"messages\": [\"\xFF\"]}", 1), "lines.jsonl:2: invalid UTF-8: ");
  expect_contains(row_error(R"({"messages": []})"), "lines.jsonl:1: no turns: 'messages' must be an array");

  const std::string user = R"({"role": "user", "content": "a"}, )";
  expect_contains(
      turns_error(user + R"({"role": "bot", "content": "b"})"),
      "lines.jsonl:2: unknown role: the role of message 2 is 'bot'; known are system, user, assistant");
  expect_contains(turns_error(user + R"({"role": "tool", "content": "b"})"), "lines.jsonl:2: tools: ");
  expect_contains(turns_error(user + R"({"role": "assistant", "content": null, "tool_calls": [{"id": 1}]})"),
                  "lines.jsonl:2: tools: message 2 has 'tool_calls'");
  expect_contains(
      turns_error(R"({"role": "user", "content": [{"type": "file", "file": "x"}]})"),
      "lines.jsonl:2: a part that is no text: the content of message 1 has a part of type \"file\"");
  expect_contains(turns_error(user + R"({"role": "assistant", "content": " \n"})"),
                  "lines.jsonl:2: empty text: the content of message 2 says nothing");
  expect_contains(turns_error(R"({"role": "user"})"), "empty text: the content of message 1 is missing");
  expect_contains(turns_error(R"({"role": "user", "content": "a\u0000"})"), "zero character");
  expect_contains(turns_error(R"({"role": "user", "content": "a"})"), "lines.jsonl:2: no answer: ");
  expect_contains(turns_error(user + R"({"role": "system", "content": "b"})"),
                  "a system prompt that does not stand first: turn 2 is one");
  expect_contains(turns_error(user + R"({"role": "assistant", "content": "b", "weight": 0.5})"),
                  "bad weight");
  expect_contains(row_error(R"({"conversations": [{"from": "human", "value": 3}]})"),
                  "no text: the value of turn 1 is number");
  expect_contains(row_error(R"({"conversations": [{"from": "observation", "value": "x"}]})"), "tools");
  expect_contains(row_error(R"({"instruction": "a", "output": ""})"), "empty text: 'output' says nothing");
  expect_contains(row_error(R"({"instruction": "a", "output": "b", "history": [["c"]]})"), "bad history");
}

TEST_F(ConversationFileTest, WhatStandsBehindTheLastAnswerIsLeftOutAndCounted) {
  EXPECT_EQ(
      described(messages(R"({"messages": [{"role": "user", "content": "a"}, )"
                         R"({"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]})")),
      "U(a)A(b)");
  EXPECT_EQ(ledger_.notes.at("turns behind the last answer, left out"), 1);
}

// Rows of LLaVA, LLaMA-Factory, TRL and OpenAI: * stands where features go, and their keys behind the message.
TEST_F(ConversationFileTest, KeysStandWhereARowShowsFeatures) {
  EXPECT_EQ(
      described(messages(
          R"({"id": "1", "image": "a/1.jpg", "conversations": [{"from": "human", "value": "<image>\nWhat?"}, )"
          R"({"from": "gpt", "value": "A cat."}, {"from": "human", "value": "Sure?"}, {"from": "gpt", "value": "Yes."}]})")),
      "U(*\nWhat?)[a/1.jpg]A(A cat.)U(Sure?)A(Yes.)");
  EXPECT_EQ(
      described(messages(
          R"({"images": ["a", "b"], "videos": ["c"], "audios": [], "messages": [{"role": "system", "content": "<image>"}, )"
          R"({"role": "user", "content": "<video> or <image>?"}, {"role": "assistant", "content": "<b>"}]})")),
      "S(*)[a]U(* or *?)[c b]A(<b>)");
  EXPECT_EQ(
      described(messages(
          R"({"instruction": "Is <image>", "input": "<audio> <video>?", "output": "No", "history": [["<image>?", "X"]], )"
          R"("features": ["a", "b", "c", "d"]})")),
      "U(*?)[a]A(X)U(Is *|* *?)[b c d]A(No)");
  EXPECT_EQ(
      described(messages(
          R"({"images": "b", "messages": [{"role": "user", "content": [{"type": "text", "text": "See "}, )"
          R"({"type": "image_url", "image_url": {"url": "a"}}, {"type": "image"}, {"type": "input_image", "image_url": "c"}, )"
          R"({"type": "video", "video": "d"}, {"type": "input_text", "text": "and"}, )"
          R"({"type": "input_audio", "input_audio": "e"}]}, {"role": "assistant", "content": "Yes"}]})")),
      "U(See ****and*)[a b c d e]A(Yes)");
  EXPECT_EQ(described(messages(R"({"video": "a", "instruction": "<image>\nWhat?", "output": "b"})")),
            "U(*\nWhat?)[a]A(b)")
      << "as where a video takes the place of an image";
  EXPECT_TRUE(ledger_.notes.empty());
  // Turns that are left out take their keys along.
  EXPECT_EQ(
      described(messages(
          R"({"images": ["a", "b"], "conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "x"}, )"
          R"({"from": "human", "value": "<image>"}]})")),
      "U(*)[a]A(x)");
}

TEST_F(ConversationFileTest, FeaturesWithoutAPlaceStandFirst) {
  EXPECT_EQ(
      described(messages(
          R"({"image": "a", "video": "b", "system": "S", "conversations": [{"from": "human", "value": "Hi"}, )"
          R"({"from": "gpt", "value": "x"}, {"from": "human", "value": "Yo"}, {"from": "gpt", "value": "y"}]})")),
      "S(S)U(*\n*\nHi)[a b]A(x)U(Yo)A(y)");
  EXPECT_EQ(ledger_.notes.at("conversations without a place for their features, which stand first"), 1);
}

TEST_F(ConversationFileTest, WithoutKeysAPlaceholderIsText) {
  for (const std::string fields : {"", R"("images": [], "image": null, "video": "", "features": [], )"})
    EXPECT_EQ(
        described(messages("{" + fields + R"("instruction": "Write <image>", "output": "<image> <video>"})")),
        "U(Write <image>)A(<image> <video>)");
  EXPECT_EQ(
      described(messages(
          R"({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "a"}, )"
          R"({"type": "text", "text": "in <image>"}]}, {"role": "assistant", "content": "<image>"}]})")),
      "U(*in <image>)[a]A(<image>)")
      << "keys of parts have their places";
}

TEST_F(ConversationFileTest, KeysAndPlacesThatDoNotAgreeAreNamed) {
  const auto row = [&](const std::string& fields, const std::string& user = "<image>",
                       const std::string& answer = "b") {
    return row_error("{" + fields + R"(, "conversations": [{"from": "human", "value": ")" + user +
                     R"("}, {"from": "gpt", "value": ")" + answer + R"("}]})");
  };
  expect_contains(
      row(R"("images": ["a", "b"])"),
      "lines.jsonl:1: features and places that are not equally many: 'images' has 2 keys, and the "
      "texts have 1 places for them (<image>, <video>, <audio>): write one");
  expect_contains(row(R"("image": "a")", "<image><image>"),
                  "'image' has 1 keys, and the texts have 2 places");
  expect_contains(row(R"("image": "a", "videos": ["b"])", "<image> <video> <audio>"),
                  "'audios' has 0 keys, and the texts have 1 places for them (<audio>)");
  expect_contains(row(R"("features": ["a"])", "<image> <video>"),
                  "'features' has 1 keys, and the texts have 2 places for them (<image>, <video>, <audio>)");
  expect_contains(row(R"("image": "a")", "<image>", "See <image>"),
                  "lines.jsonl:1: features in an answer: turn 2 is the assistant's");
  expect_contains(row(R"("image": "a", "images": ["b"])"),
                  "features named twice: both 'images' and 'image' name some");
  expect_contains(row(R"("image": "a", "features": ["b"])"), "both 'features' and 'image' name some");
  expect_contains(row(R"("image": {"bytes": "x"})"), "no key of features: 'image' is object, it must be");
  expect_contains(row(R"("images": ["a", 3])"), "no key of features: an element of 'images' is number");
  expect_contains(row(R"("images": [" "])"), "no key of features: an element of 'images' is empty");
  expect_contains(row(R"("image": "data:image/png;base64,iVBO")"), "'image' holds the data themselves");
  expect_contains(row_error(R"({"image": "a", "conversations": [{"from": "gpt", "value": "x"}, )"
                            R"({"from": "human", "value": "y"}]})"),
                  "features without a place: no turn that is answered is a user's");

  expect_contains(
      turns_error(R"({"role": "user", "content": [{"type": "image"}]})"),
      "no key of features: 'image' of a part of the content of message 1 is missing, and no field "
      "'images' of the row has it");
  expect_contains(
      turns_error(R"({"role": "user", "content": [{"type": "video_url", "video_url": {"fps": 2}}]})"),
      "'video_url' of a part of the content of message 1 is object");
  expect_contains(turns_error(R"({"role": "assistant", "content": [{"type": "audio", "audio": "a"}]})"),
                  "features in an answer: a part of the content of message 1 is no text");
}

}  // namespace
}  // namespace chorus
