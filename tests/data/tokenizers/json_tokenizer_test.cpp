#include "data/tokenizers/json_tokenizer.h"

#include <chrono>
#include <functional>

#include <gtest/gtest.h>

#include "data/prompts/tokenizer.h"
#include "ops/base/hash.h"
#include "tests/data/scratch.h"
#include "tests/data/tokenizers/tokenizer_json.h"

namespace chorus {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<std::int32_t>;

// Texts, ids and decoded texts of Hugging Face's library.
class GoldenEncodings : public testing::TestWithParam<std::string> {};

TEST_P(GoldenEncodings, AllAgree) {
  const std::string name = "models/tokenizers-json/" + GetParam();
  const std::string file = real_file(name + "/tokenizer.json"), golden = real_file(name + "/encodings.jsonl");
  if (file.empty() || golden.empty()) GTEST_SKIP() << not_there(name);
  const Tokenizer tokenizer = Tokenizer::load(std::filesystem::path(file).parent_path());
  EXPECT_EQ(tokenizer.token(tokenizer.eos()), GetParam() == "llama3" ? "<|end_of_text|>" : "<|endoftext|>");
  EXPECT_EQ(tokenizer.bos().has_value(), GetParam() == "llama3");
  std::ifstream lines(golden);
  std::string line;
  int compared = 0;
  while (std::getline(lines, line)) {
    const Json expected = Json::parse(line);
    const auto text = expected["text"].get<std::string>();
    const auto ids = expected["ids"].get<Ids>();
    ++compared;
    ASSERT_EQ(tokenizer.encode(text), ids) << line;
    ASSERT_EQ(tokenizer.encode_with_special(text),
              expected["with_special"].is_null() ? ids : expected["with_special"].get<Ids>())
        << line;
    ASSERT_EQ(tokenizer.decode(ids), expected["decoded"].get<std::string>()) << line;
  }
  EXPECT_GT(compared, 1000);
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenEncodings, testing::Values("llama3", "qwen2", "smollm2"));

class JsonTokenizer : public testing::Test {
 protected:
  Tokenizer load(const Json& json) const {
    return Tokenizer::load(folder_.write("tokenizer.json", json.dump()));
  }
  std::string refusal(const std::function<void(Json&)>& change) const {
    Json json = byte_level_json({{"a", "b"}});
    change(json);
    return message_of<DataError>([&] { load(json); });
  }
  // The tokens as the file writes them.
  static std::vector<std::string> tokens(const Tokenizer& tokenizer, std::string_view text) {
    std::vector<std::string> all;
    for (const std::int32_t id : tokenizer.encode(text)) all.push_back(tokenizer.token(id));
    return all;
  }
  using Texts = std::vector<std::string>;
  TemporaryFolder folder_;
};

TEST_F(JsonTokenizer, MergesTheLowestRankFirstAndTheLeftmost) {
  const Tokenizer tokenizer = load(byte_level_json({{"b", "c"}, {"a", "b"}, {"a", "a"}, {"bc", "d"}}));
  EXPECT_EQ(tokens(tokenizer, "abcd"), (Texts{"a", "bcd"}));
  EXPECT_EQ(tokens(tokenizer, "abab"), (Texts{"ab", "ab"}));
  EXPECT_EQ(tokens(tokenizer, "aaab"), (Texts{"aa", "ab"}));
  EXPECT_EQ(tokens(tokenizer, "aaaaa"), (Texts{"aa", "aa", "a"}));
  EXPECT_EQ(tokens(tokenizer, "abcd"), (Texts{"a", "bcd"})) << "remembered";
  EXPECT_EQ(tokens(tokenizer, " a\n"), (Texts{"\u0120", "a", "\u010A"}));
  EXPECT_EQ(tokenizer.encode(""), Ids());
  EXPECT_EQ(tokenizer.decode({}), "");
  EXPECT_EQ(tokenizer.size(), 256 + 4 + 2);
  EXPECT_EQ(tokenizer.hash(), Fnv1a().add(bytes_of(folder_ / "tokenizer.json")).value());
}

TEST_F(JsonTokenizer, MergesHaveTwoSpellings) {
  Json json = byte_level_json({{"a", "b"}, {"ab", "c"}});
  const Tokenizer pairs = load(json);
  json["model"]["merges"] = {"#version: 0.2", "a b", "ab c"};
  json["model"].erase("type");  // as in older files
  const Tokenizer lines = load(json);
  EXPECT_EQ(tokens(lines, "abcab"), (Texts{"abc", "ab"}));
  EXPECT_EQ(pairs.encode("abcab"), lines.encode("abcab"));
  EXPECT_NE(pairs.hash(), lines.hash());
}

TEST_F(JsonTokenizer, AWordOfTheVocabularyMayNeedNoMerges) {
  Json json = byte_level_json({{"b", "c"}});
  json["model"]["vocab"]["abc"] = 259;
  json["added_tokens"] = Json::array();
  EXPECT_EQ(tokens(load(json), "abc"), (Texts{"a", "bc"}));
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(tokens(load(json), "abc"), (Texts{"abc"}));
  EXPECT_EQ(tokens(load(json), "abcb"), (Texts{"a", "bc", "b"}));
  EXPECT_EQ(load(json).decode(Ids{97, 257, 258, 259}), "aabc")
      << "numbers between the tokens stand for nothing";
}

TEST_F(JsonTokenizer, UnknownCharacters) {
  Json json = byte_level_json();
  json["pre_tokenizer"] = json["normalizer"] = nullptr;
  json["added_tokens"] = Json::array();
  json["decoder"] = nullptr;
  json["model"]["vocab"] = {{"a", 0}, {"?", 1}, {"<0xE5>", 2}, {"<0x8F>", 3}, {"<0xAB>", 4}, {"<0xC3>", 5}};
  EXPECT_EQ(load(json).encode("axya"), (Ids{0, 0})) << "left out without an unk_token";
  EXPECT_EQ(load(json).decode(Ids{0, 1}), "a ?") << "without a decoder";
  EXPECT_FALSE(load(json).unk());
  json["model"]["unk_token"] = "?";
  EXPECT_EQ(load(json).encode("axya"), (Ids{0, 1, 1, 0}));
  EXPECT_EQ(load(json).unk(), 1);
  json["model"]["fuse_unk"] = true;
  EXPECT_EQ(load(json).encode("axyax"), (Ids{0, 1, 0, 1}));
  json["model"]["byte_fallback"] = true;
  EXPECT_EQ(load(json).encode("a\u53EBx\u00E9"), (Ids{0, 2, 3, 4, 1})) << "only where all bytes are there";
  EXPECT_EQ(load(json).encode("x\u53EBa"), (Ids{2, 3, 4, 1, 0})) << "as Hugging Face's library";
  json["model"]["unk_token"] = "none";
  expect_contains(
      message_of<DataError>([&] { load(json).encode("ax"); }),
      "tokenizer.json: model: the character 'x' is not in the vocabulary, nor is unk_token 'none'");
}

TEST_F(JsonTokenizer, FindsAddedTokensInTexts) {
  const auto with = [&](std::vector<Json> added) {
    Json json = byte_level_json();
    json["added_tokens"] = std::move(added);
    return load(json);
  };
  const Tokenizer plain =
      with({added_token(256, "<a>"), added_token(257, "<a><b>"), added_token(258, "<b>")});
  EXPECT_EQ(tokens(plain, "x<a><b><a><c"), (Texts{"x", "<a><b>", "<a>", "<", "c"})) << "the longest";
  EXPECT_EQ(tokens(plain, " <b> "), (Texts{"\u0120", "<b>", "\u0120"}));

  const Tokenizer strips =
      with({added_token(256, "<l>", {{"lstrip", true}}), added_token(257, "<r>", {{"rstrip", true}})});
  EXPECT_EQ(tokens(strips, "x \u3000\n<l> y"), (Texts{"x", "<l>", "\u0120", "y"}));
  EXPECT_EQ(tokens(strips, "x <r>\t\n y"), (Texts{"x", "\u0120", "<r>", "y"}));
  EXPECT_EQ(tokens(strips, "<r>  <l>"), (Texts{"<r>", "<l>"}));

  const Tokenizer word = with({added_token(256, "ab", {{"single_word", true}})});
  EXPECT_EQ(tokens(word, "ab,ab"), (Texts{"ab", ",", "ab"}));
  EXPECT_EQ(tokens(word, "xab"), (Texts{"x", "a", "b"}));
  EXPECT_EQ(tokens(word, "ab_"), (Texts{"a", "b", "_"}));
  EXPECT_EQ(tokens(word,
                   "\u00E9"
                   "ab")
                .size(),
            4U);
  EXPECT_EQ(tokens(word,
                   "\u2014"
                   "ab")
                .back(),
            "ab")
      << "a dash is no letter";

  // A normalized one is looked for in the normalized text.
  const Tokenizer normalized =
      with({added_token(256, "e\u0301", {{"normalized", true}}), added_token(257, "o\u0301")});
  EXPECT_EQ(normalized.encode("\u00E9"), (Ids{256}));
  EXPECT_EQ(normalized.encode("e\u0301"), (Ids{256}));
  EXPECT_EQ(normalized.encode("o\u0301"), (Ids{257}));
  EXPECT_EQ(normalized.encode("\u00F3").size(), 2U);
}

TEST_F(JsonTokenizer, TextsThatAreNoUsualOnes) {
  const Tokenizer tokenizer = load(byte_level_json({{"a", "a"}}));
  for (const std::string& text :
       {std::string("\0a\0", 3), std::string("\r\n \t\n\n  x"), std::string("don't 'LL 1234"),
        std::string("\U0001F468\u200D\U0001F469 \u0928\u092E\u0938\u094D\u0924\u0947")}) {
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a\xFF"
                                              "b")),
            "a\uFFFD"
            "b")
      << "bytes that are no text";
  EXPECT_EQ(tokenizer.encode("e\u0301"), tokenizer.encode("\u00E9"));
  const Ids half{tokenizer.encode("\u00E9").front()};
  EXPECT_EQ(tokenizer.decode(half), "\uFFFD");
  const Ids outside{tokenizer.size()};
  expect_contains(message_of<DataError>([&] { tokenizer.decode(outside); }),
                  "is outside the vocabulary of 259");
}

TEST_F(JsonTokenizer, LongWordsTakeNoQuadraticTime) {
  const Tokenizer tokenizer = load(byte_level_json({{"a", "a"}, {"aa", "aa"}}));
  const auto started = std::chrono::steady_clock::now();
  EXPECT_EQ(tokenizer.encode(std::string(400'000, 'a')).size(), 100'000U);
  EXPECT_EQ(tokenizer.encode(std::string(400'000, ' ')).size(), 400'000U);
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(30));  // quadratic: hours
}

TEST_F(JsonTokenizer, TheTemplateSaysWhatStandsAroundATextAndHowItBegins) {
  const Tokenizer without = load(byte_level_json());
  EXPECT_FALSE(without.bos());
  EXPECT_EQ(without.beginning(), Ids());
  EXPECT_EQ(without.encode_with_special("a"), without.encode("a"));
  Json json = byte_level_json({}, true);
  EXPECT_EQ(load(json).bos(), 256);
  EXPECT_EQ(load(json).beginning(), (Ids{256}));
  EXPECT_EQ(load(json).encode_with_special("a"), (Ids{256, without.encode("a")[0]}));
  EXPECT_EQ(load(json).encode_with_special(""), (Ids{256}));
  const Json inner = json["post_processor"];
  json["post_processor"] = {{"type", "Sequence"}, {"processors", {{{"type", "ByteLevel"}}, inner}}};
  EXPECT_EQ(load(json).bos(), 256);
  json["post_processor"]["processors"].push_back(inner);
  expect_contains(message_of<DataError>([&] { load(json); }),
                  "post_processor.processors[2]: a second TemplateProcessing is not supported");
}

TEST_F(JsonTokenizer, FilesBesideItSayHowATextEnds) {
  Json json = byte_level_json();
  EXPECT_EQ(load(json).eos(), 257) << "by its name";
  folder_.write("config.json", R"({"eos_token_id": 7})");
  EXPECT_EQ(load(json).eos(), 7);
  folder_.write("generation_config.json", R"({"eos_token_id": [8, 7]})");
  EXPECT_EQ(load(json).eos(), 8);
  folder_.write("special_tokens_map.json", R"({"eos_token": {"content": "b", "lstrip": false}})");
  EXPECT_EQ(load(json).token(load(json).eos()), "b");
  folder_.write("tokenizer_config.json", R"({"eos_token": "<|begin|>"})");
  EXPECT_EQ(load(json).eos(), 256);
  folder_.write("tokenizer_config.json", R"({"eos_token": "<|other|>"})");
  expect_contains(message_of<DataError>([&] { load(json); }),
                  "tokenizer_config.json: eos_token '<|other|>' is not in tokenizer.json");
  folder_.write("tokenizer_config.json", "{");
  expect_contains(message_of<DataError>([&] { load(json); }), "tokenizer_config.json: is not valid JSON");
  folder_.write("tokenizer_config.json", R"({"eos_token": null})");
  folder_.write("special_tokens_map.json", "{}");
  folder_.write("generation_config.json", R"({"eos_token_id": 258})");
  expect_contains(message_of<DataError>([&] { load(json); }),
                  "generation_config.json: eos_token_id 258 is no token of tokenizer.json, which has 258");
  folder_.write("generation_config.json", "{}");
  folder_.write("config.json", "{}");
  json["added_tokens"].erase(1);
  EXPECT_EQ(load(json).encode("a").size(), 1U) << "it need not be known";
  expect_contains(
      message_of<DataError>([&] { load(json).eos(); }),
      "tokenizer.json: does not say which token ends a text: put the model's tokenizer_config.json");
}

TEST_F(JsonTokenizer, RefusesWhatItWouldComputeDifferently) {
  const auto part = [&](const char* where, const char* text) {
    return refusal([&](Json& json) { json[where] = Json::parse(text); });
  };
  const std::string file = folder_ / "tokenizer.json";
  EXPECT_EQ(part("normalizer", R"({"type": "Lowercase"})"),
            file +
                ": normalizer: the type Lowercase is not supported; supported are NFC, Prepend, Replace and "
                "Sequence");
  EXPECT_EQ(part("pre_tokenizer",
                 R"({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Metaspace"}]})"),
            file +
                ": pre_tokenizer.pretokenizers[1]: the type Metaspace is not supported; supported are Split, "
                "ByteLevel, Digits and Sequence");
  EXPECT_EQ(
      part("post_processor", R"({"type": "BertProcessing"})"),
      file +
          ": post_processor: the type BertProcessing is not supported; supported are TemplateProcessing, "
          "ByteLevel and Sequence");
  EXPECT_EQ(
      part("decoder", R"({"type": "WordPiece"})"),
      file +
          ": decoder: the type WordPiece is not supported; supported are ByteLevel, ByteFallback, Fuse, "
          "Replace, Strip and Sequence");
  EXPECT_EQ(part("model", R"({"type": "Unigram", "vocab": []})"),
            file + ": model: the type Unigram is not supported; BPE is");
  expect_contains(part("model", R"({"vocab": {}})"), "model: the type is missing; BPE is supported");
  expect_contains(part("pre_tokenizer", "{}"), "pre_tokenizer: field 'type' is missing");
  expect_contains(part("pre_tokenizer", "[]"), "pre_tokenizer: must be an object");
  expect_contains(
      part("pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"})"),
      "pre_tokenizer: Split: the regular expression '(a' cannot be compiled: end pattern with "
      "unmatched parenthesis");
  expect_contains(
      part("pre_tokenizer", R"({"type": "Split", "pattern": {"Glob": "a"}, "behavior": "Isolated"})"),
      "pre_tokenizer: pattern: must be");
  expect_contains(
      part("pre_tokenizer", R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Kept"})"), "Kept");
  expect_contains(part("decoder", R"({"type": "Strip", "content": "ab", "start": 1, "stop": 0})"),
                  "decoder: content 'ab' must be one character");
  Json nested{{"type", "ByteLevel"}};
  for (int i = 0; i < 1000; ++i)
    nested = {{"type", "Sequence"}, {"decoders", Json::array({std::move(nested)})}};
  expect_contains(refusal([&](Json& json) { json["decoder"] = std::move(nested); }),
                  "Sequences are nested more than 8 deep");
  expect_contains(
      part("post_processor", R"({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "B"}}]})"),
      "must hold one text, the Sequence A, once");
  expect_contains(
      part("post_processor", R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}],
                  "special_tokens": {"x": {"ids": [0]}}})"),
      "holds no text");
  expect_contains(
      part("post_processor", R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}},
                  {"Sequence": {"id": "A"}}], "special_tokens": {"x": {"ids": [0, 1]}}})"),
      "post_processor: begins texts with 2 tokens; one or none is supported");
  expect_contains(
      part("post_processor", R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}},
                  {"Sequence": {"id": "A"}}], "special_tokens": {"x": {"ids": [999]}}})"),
      "the token 999 is outside the vocabulary of 259");
  expect_contains(part("version", R"("2.0")"), "the version 2.0 of tokenizer.json is not supported; 1.0 is");
}

TEST_F(JsonTokenizer, AnExpressionMayNotFindTheSameForEver) {
  Json json = byte_level_json();
  json["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"Regex", R"re((?<=a\Ka))re"}}}, {"behavior", "Isolated"}};
  const Tokenizer tokenizer = load(json);
  expect_contains(
      message_of<DataError>([&] { tokenizer.encode("aaa"); }),
      "pre_tokenizer: Split: what the regular expression finds begins at byte 1, before the search "
      "for it at byte 2");
}

TEST_F(JsonTokenizer, RefusesModelsItCannotUse) {
  const auto model = [&](const char* key, const Json& value) {
    return refusal([&](Json& json) { json["model"][key] = value; });
  };
  expect_contains(model("dropout", 0.1), "model: dropout 0.1 is not supported");
  EXPECT_EQ(model("dropout", 0.0), "[no exception]");
  EXPECT_EQ(model("end_of_word_suffix", ""), "[no exception]");
  expect_contains(model("end_of_word_suffix", "</w>"),
                  R"(model: end_of_word_suffix "</w>" is not supported)");
  expect_contains(model("continuing_subword_prefix", "##"),
                  R"(continuing_subword_prefix "##" is not supported)");
  expect_contains(model("vocab", Json::array()), "model.vocab: must be an object");
  expect_contains(model("vocab", {{"a", -1}}), "model.vocab: the id of 'a' is -1");
  expect_contains(model("vocab", {{"a", 0.5}}), "the id of 'a' is 0.5");
  expect_contains(model("vocab", {{"a", 4'000'000'000}}), "the id of 'a' is 4000000000");
  expect_contains(model("vocab", {{"a", 0}, {"b", 0}}), "'b' and another token have the id 0");
  expect_contains(model("merges", 7), "model.merges: must be a list");
  expect_contains(model("merges", {"a"}), R"(the merge "a" is neither "a b" nor ["a", "b"])");
  expect_contains(model("merges", {"a b c"}), R"(the merge "a b c" is neither)");
  expect_contains(model("merges", Json::array({{"a", 1}})), "is neither");
  expect_contains(model("merges", {"a zz"}),
                  "the merge of 'a' and 'zz' needs 'zz', which is not in the vocabulary");
  expect_contains(model("merges", {"b a"}), "needs 'ba', which is not in the vocabulary");
  const auto added = [&](const Json& token) {
    return refusal([&](Json& json) { json["added_tokens"] = Json::array({token}); });
  };
  expect_contains(added(added_token(300, "<x>")),
                  "added_tokens[0]: '<x>' has the id 300, but would be given 257, the first");
  expect_contains(added(added_token(300, "ab")),
                  "'ab' has the id 300, but would be given 256, which it has already");
  expect_contains(added({{"id", 257}}), "added_tokens[0]: field 'content' is missing");
  expect_contains(refusal([](Json& json) { json["added_tokens"] = 1; }), "added_tokens: must be a list");
  expect_contains(
      refusal([](Json& json) {
        json["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", "q"}}}, {"content", ""}};
        json["added_tokens"] = {added_token(257, "qq", {{"normalized", true}})};
      }),
      "'qq' is normalized to nothing");
  expect_contains(refusal([](Json& json) { json.erase("model"); }),
                  "tokenizer.json: field 'model' is missing");
}

TEST_F(JsonTokenizer, RefusesBrokenFiles) {
  const std::string good = byte_level_json({{"a", "b"}}, true).dump();
  for (std::size_t length = 1; length < good.size(); length += 7) {
    const std::string path = folder_.write("tokenizer.json", good.substr(0, length));
    expect_contains(message_of<DataError>([&] { Tokenizer::load(path); }),
                    "tokenizer.json: is not valid JSON");
  }
  // Values of another type, wherever they stand.
  const Json json = Json::parse(good), places = json.flatten();
  for (const auto& [pointer, value] : places.items()) {
    if (pointer.starts_with("/model/vocab/") && pointer != "/model/vocab/a") continue;
    for (const Json& other :
         {Json(nullptr), Json(-7), Json("text"), Json(Json::array({1})), Json(Json::object())}) {
      Json changed = json;
      changed[Json::json_pointer(pointer)] = other;
      const std::string message = message_of<DataError>([&] { load(changed); });
      EXPECT_EQ(message.find("another type of exception"), std::string::npos) << pointer << ": " << message;
    }
  }
}

TEST_F(JsonTokenizer, OfAFolderTheModelIsTakenWhereItCanBeRead) {
  expect_contains(message_of<DataError>([&] { Tokenizer::load(folder_.path()); }),
                  " has no tokenizer.model and no tokenizer.json");
  load(byte_level_json());
  const std::filesystem::path folder = folder_.path();
  EXPECT_EQ(tokenizer_file(folder), folder / "tokenizer.json");
  EXPECT_EQ(Tokenizer::load(folder).size(), 258);
  // Meta's release has its ranks under this name.
  folder_.write("tokenizer.model", "IQ== 0\nIg== 1\n");
  EXPECT_EQ(tokenizer_file(folder), folder / "tokenizer.json");
  std::filesystem::remove(folder / "tokenizer.model");
  std::string text;
  for (int i = 0; i < 300; ++i) text += "the number " + std::to_string(i * 7919 % 1000) + " of many words\n";
  train_tokenizer({{folder_.write("text.txt", text)}, 300, folder / "tokenizer.model"});
  EXPECT_EQ(tokenizer_file(folder), folder / "tokenizer.model");
  EXPECT_EQ(Tokenizer::load(folder).size(), 300);
  EXPECT_EQ(Tokenizer::load(folder / "tokenizer.json").size(), 258);

  const TemporaryFolder copy;
  folder_.write("tokenizer_config.json", R"({"eos_token": "a"})");
  copy_tokenizer(folder / "tokenizer.json", copy.path());
  EXPECT_EQ(Tokenizer::load(copy.path()).hash(), Tokenizer::load(folder / "tokenizer.json").hash());
  EXPECT_EQ(Tokenizer::load(copy.path()).eos(), Tokenizer::load(copy.path()).encode("a")[0]);
}

}  // namespace
}  // namespace chorus
