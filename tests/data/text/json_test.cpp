#include "data/text/json.h"

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using test::holds;
using test::message_of;
using test::ScratchFolder;
using test::write_bytes;
using Json = nlohmann::json;

TEST(ReadJsonFile, NamesThePlaceOfAMistake) {
  const ScratchFolder folder;
  write_bytes(folder / "a.json", R"({"a": 1,})");
  const auto message = message_of<DataError>([&] { read_json_file(folder / "a.json"); });
  EXPECT_TRUE(holds(message, (folder / "a.json").string() + ": is not valid JSON: "));
  EXPECT_TRUE(holds(message, "line 1, column 9"));
  write_bytes(folder / "a.json", R"({"a": 1e999})");
  EXPECT_TRUE(holds(message_of<DataError>([&] { read_json_file(folder / "a.json"); }), "1e999"));
  write_bytes(folder / "a.json", R"({"a": [1, 2]})");
  EXPECT_EQ(read_json_file(folder / "a.json")["a"][1], 2);
}

TEST(ForEachJsonLine, CountsBlankLinesAndKeepsTheOrderOfFields) {
  const ScratchFolder folder;
  write_bytes(folder / "a.jsonl", "{\"b\": 1, \"a\": \"\\u0000\"}\r\n\n[2]\n{");
  std::string seen;
  const auto read = [&] {
    for_each_json_line(folder / "a.jsonl", [&](const nlohmann::ordered_json& line, const std::string& where) {
      seen += where.substr(folder.path().string().size()) + " " + line.dump() + "\n";
    });
  };
  EXPECT_TRUE(holds(message_of<DataError>(read), "a.jsonl:4: is not valid JSON"));
  EXPECT_EQ(seen, "/a.jsonl:1 {\"b\":1,\"a\":\"\\u0000\"}\n/a.jsonl:3 [2]\n");
}

TEST(ForEachLogLine, LeavesOutALastLineThatIsCutAndNoOther) {
  const ScratchFolder folder;
  std::string seen;
  const auto read = [&](const std::string& text) {
    write_bytes(folder / "log.jsonl", text);
    seen.clear();
    return for_each_log_line(folder / "log.jsonl", [&](const nlohmann::ordered_json& line,
                                                       const std::string&) { seen += line.dump() + "\n"; });
  };
  EXPECT_EQ(read("[1]\n[2]\n"), "");
  EXPECT_EQ(seen, "[1]\n[2]\n");
  EXPECT_EQ(read("[1]\n[2]"), "") << "whole, its end apart";
  EXPECT_EQ(seen, "[1]\n[2]\n");
  const std::string remark =
      (folder / "log.jsonl").string() + ": the last line is cut, as a killed process leaves it, and left out";
  EXPECT_EQ(read("[1]\n[2"), remark);
  EXPECT_EQ(seen, "[1]\n");
  EXPECT_EQ(read("{\"a"), remark);
  EXPECT_EQ(seen, "");
  EXPECT_EQ(read(""), "");
  for (const std::string text : {"[1\n[2]\n", "[1]\n[2\n", "[1\n[2"})
    EXPECT_TRUE(holds(message_of<DataError>([&] { read(text); }), "is not valid JSON")) << text;
}

TEST(JsonFields, ReadsTypedFields) {
  const Json object = Json::parse(R"({"i": 3, "d": 0.5, "b": true, "t": "x", "n": null, "l": [1]})");
  const JsonFields fields(object, "here");
  EXPECT_EQ(fields.integer("i"), 3);
  EXPECT_EQ(fields.required_integer("i"), 3);
  EXPECT_EQ(fields.number("i"), 3.0);
  EXPECT_EQ(fields.number("d"), 0.5);
  EXPECT_EQ(fields.boolean("b"), true);
  EXPECT_EQ(fields.text("t"), "x");
  EXPECT_EQ(fields.filled_text("t"), "x");
  EXPECT_EQ(fields.word("t", {"w", "x"}), 1U);
  EXPECT_EQ(fields.word("none", {"w", "x"}), 0U);
  EXPECT_EQ(fields.list("l"), Json({1}));
  EXPECT_EQ(fields.integer("n"), std::nullopt);
  EXPECT_EQ(fields.text("none"), std::nullopt);
  EXPECT_FALSE(fields.has("n"));
  EXPECT_TRUE(fields["none"].is_null());
  EXPECT_EQ(fields.keys(), (std::vector<std::string>{"b", "d", "i", "l", "n", "t"}));
}

TEST(JsonFields, NamesFieldsThatAreMissingOrOfAnotherType) {
  const Json object = Json::parse(R"({"d": 0.5, "t": "x", "e": "", "big": 18446744073709551615, "l": []})");
  const JsonFields fields(object, "here");
  const auto message = [&](auto get) { return message_of<DataError>([&] { get(); }); };
  EXPECT_EQ(message([&] { fields.integer("d"); }),
            "here: field 'd' must be a whole number of 64 bits, is 0.5");
  EXPECT_TRUE(holds(message([&] { fields.integer("big"); }), "is 18446744073709551615"));
  EXPECT_EQ(message([&] { fields.number("t"); }), "here: field 't' must be a number, is string \"x\"");
  EXPECT_EQ(message([&] { fields.boolean("t"); }), "here: field 't' must be true or false, is \"x\"");
  EXPECT_EQ(message([&] { fields.text("d"); }), "here: field 'd' must be a string, is number 0.5");
  EXPECT_EQ(message([&] { fields.filled_text("e"); }), "here: field 'e' is empty");
  EXPECT_EQ(message([&] { fields.list("l"); }), "here: field 'l' must be a list that is not empty, is []");
  EXPECT_EQ(message([&] { fields.word("t", {"a", "b"}); }), "here: field 't' is 'x', it must be one of a, b");
  EXPECT_EQ(message([&] { fields.required_integer("none"); }), "here: field 'none' is missing");
  EXPECT_EQ(message([&] { JsonFields(object["l"], "here"); }), "here: must be an object, is array");
}

TEST(JsonFields, RefusesOthersThanThoseThatAreKnown) {
  const auto object = nlohmann::ordered_json::parse(R"({"spekaer": 1, "text": null, "old": null})");
  EXPECT_EQ(message_of<DataError>([&] {
              OrderedJsonFields(object, "here", {"text", "speaker"});
            }),
            "here: unknown field 'spekaer'; did you mean 'speaker'?");
  EXPECT_NO_THROW(OrderedJsonFields(object, "here", {"spekaer"})) << "null is not there";
}

}  // namespace
}  // namespace chorus
