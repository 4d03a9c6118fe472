// The parts of a tokenizer.json one by one; what is expected is what Hugging Face's library gives.

#include <gtest/gtest.h>
#include <regex.h>

#include "data/tokenizers/normalizer.h"
#include "data/tokenizers/pre_tokenizer.h"
#include "data/tokenizers/token_decoder.h"
#include "data/tokenizers/unicode.h"
#include "ops/base/error.h"

namespace chorus {
namespace {

using Texts = std::vector<std::string>;

Texts pieces(const std::string& json, const std::string& text) {
  const Pieces cut = PreTokenizer(nlohmann::json::parse(json), "pre_tokenizer")(text);
  Texts texts;
  for (const Range& range : cut.ranges) texts.emplace_back(range.of(cut.text));
  return texts;
}

std::string split_json(const std::string& pattern, const std::string& behavior, bool invert = false) {
  const nlohmann::json json{{"type", "Split"},
                            {"pattern", nlohmann::json::parse(pattern)},
                            {"behavior", behavior},
                            {"invert", invert}};
  return json.dump();
}

TEST(PreTokenizer, SplitTreatsDelimitersInFiveWays) {
  const auto on_hyphens = [](const std::string& behavior, bool invert) {
    return pieces(split_json(R"({"String": "-"})", behavior, invert), "the-final--countdown");
  };
  const Texts isolated{"the", "-", "final", "-", "-", "countdown"};
  EXPECT_EQ(on_hyphens("Isolated", false), isolated);
  EXPECT_EQ(on_hyphens("Isolated", true), isolated);
  EXPECT_EQ(on_hyphens("Removed", false), (Texts{"the", "final", "countdown"}));
  EXPECT_EQ(on_hyphens("Removed", true), (Texts{"-", "-", "-"}));
  const Texts with_previous{"the-", "final-", "-", "countdown"},
      with_next{"the", "-final", "-", "-countdown"};
  EXPECT_EQ(on_hyphens("MergedWithPrevious", false), with_previous);
  EXPECT_EQ(on_hyphens("MergedWithPrevious", true), with_next);
  EXPECT_EQ(on_hyphens("MergedWithNext", false), with_next);
  EXPECT_EQ(on_hyphens("MergedWithNext", true), with_previous);
  EXPECT_EQ(on_hyphens("Contiguous", false), (Texts{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(on_hyphens("Contiguous", true), (Texts{"the", "-", "final", "--", "countdown"}));
}

TEST(PreTokenizer, PatternsAreExpressionsOrTheCharactersThemselves) {
  EXPECT_EQ(pieces(split_json(R"({"Regex": "\\p{N}{1,3}"})", "Isolated"), "a12345b"),
            (Texts{"a", "123", "45", "b"}));
  EXPECT_EQ(pieces(split_json(R"({"String": "."})", "Removed"), "a.b c"), (Texts{"a", "b c"}));
  EXPECT_EQ(pieces(split_json(R"({"Regex": "b?"})", "Isolated"), "abc"), (Texts{"a", "b", "c"}));
  EXPECT_EQ(pieces("null", "a b"), (Texts{"a b"}));
  EXPECT_EQ(pieces("null", ""), Texts());
}

TEST(PreTokenizer, DigitsStandApart) {
  EXPECT_EQ(pieces(R"({"type": "Digits", "individual_digits": true})", "a12\u00BD\u0663b4"),
            (Texts{"a", "1", "2", "\u00BD", "\u0663", "b", "4"}));
  EXPECT_EQ(pieces(R"({"type": "Digits"})", "a12\u00BD\u0663b4"), (Texts{"a", "12\u00BD\u0663", "b", "4"}));
}

TEST(PreTokenizer, ByteLevelWritesBytesAsCharacters) {
  const std::string text = "it's 12  \u00E9\n";
  EXPECT_EQ(
      pieces(R"({"type": "ByteLevel", "add_prefix_space": true, "use_regex": true, "trim_offsets": true})",
             text),
      (Texts{"\u0120it", "'s", "\u012012", "\u0120", "\u0120\u00C3\u00A9", "\u010A"}));
  EXPECT_EQ(pieces(R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})", text),
            (Texts{"it's\u012012\u0120\u0120\u00C3\u00A9\u010A"}));
  EXPECT_EQ(pieces(R"({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true},
                       {"type": "ByteLevel", "add_prefix_space": true, "use_regex": false}]})",
                   "a 12"),
            (Texts{"\u0120a\u0120", "\u01201", "\u01202"}));
}

std::string normalized(const std::string& json, const std::string& text) {
  return Normalizer(nlohmann::json::parse(json), "normalizer")(text);
}

TEST(Normalizer, ItsParts) {
  EXPECT_EQ(normalized("null", "e\u0301"), "e\u0301");
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "e\u0301 \u212B \uAC00\u11A8 \u0958"),
            "\u00E9 \u00C5 \uAC01 \u0915\u093C");
  EXPECT_EQ(normalized(R"({"type": "Prepend", "prepend": "\u2581"})", "a"), "\u2581a");
  EXPECT_EQ(normalized(R"({"type": "Prepend", "prepend": "\u2581"})", ""), "");
  EXPECT_EQ(normalized(R"({"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "})", "a \n b"),
            "a b");
  EXPECT_EQ(normalized(R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace",
                           "pattern": {"String": " "}, "content": "\u2581"}, {"type": "Prepend", "prepend": "\u2581"}]})",
                       "e\u0301 x"),
            "\u2581\u00E9\u2581x");
}

std::string decoded(const std::string& json, const Texts& tokens) {
  return TokenDecoder(nlohmann::json::parse(json), "decoder")(tokens);
}

TEST(TokenDecoder, ItsParts) {
  EXPECT_EQ(decoded("null", {"a", "b"}), "a b");
  EXPECT_EQ(decoded(R"({"type": "Fuse"})", {"a", "b"}), "ab");
  EXPECT_EQ(decoded(R"({"type": "ByteLevel"})", {"\u0120a", "\u00C3", "\u00A9", "<|x y|>", "\u00C3"}),
            " a\u00E9<|x y|>\uFFFD");
  EXPECT_EQ(decoded(R"({"type": "Strip", "content": "a", "start": 1, "stop": 1})", {"aabaa", "xa", "a"}),
            "abax");
  EXPECT_EQ(decoded(R"({"type": "Sequence", "decoders": [
                         {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
                         {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})",
                    {"\u2581a", "<0xE5>", "<0x8F>", "<0xAB>", "b", "<0xE5>", "<0x8F>", "\u2581c"}),
            "a\u53EBb\uFFFD\uFFFD c");
}

TEST(RegularExpression, KnowsTheLettersOfUnicode16) {
  std::vector<Range> matches;
  // Of Unicode 1.1, 14.0, 15.0 and 16.0.
  RegularExpression("\\p{L}", "test").find_all("\u00E9\u2C2F\U00010EC0-\U000323AF\U00013F9D", matches);
  EXPECT_EQ(matches.size(), 4U);
  RegularExpression("\\p{Lu}|\\p{Nd}", "test").find_all("\uA7CB\U00010D40\uA7DB", matches);
  EXPECT_EQ(matches.size(), 2U);
  RegularExpression::literal("a.b", "test").find_all("axb a.b", matches);
  EXPECT_EQ(matches.size(), 1U);
}

// Oniguruma's library has functions of the same names.
TEST(RegularExpression, LeavesThoseOfPosixAlone) {
  regex_t expression;
  ASSERT_EQ(regcomp(&expression, "^[0-9]+[.]$", REG_EXTENDED | REG_NOSUB), 0);
  EXPECT_EQ(regexec(&expression, "123.", 0, nullptr, 0), 0);
  EXPECT_EQ(regexec(&expression, "12a.", 0, nullptr, 0), REG_NOMATCH);
  regfree(&expression);
}

TEST(Unicode, NormalizesByUnicode9) {
  EXPECT_EQ(normalization_form_c("a\u0315\u0301"), "\u00E1\u0315");
  EXPECT_EQ(normalization_form_c("a\u0315\u1ACC\u0301"), "a\u0315\u1ACC\u0301") << "a mark of Unicode 14.0";
  EXPECT_EQ(normalization_form_c("e\u0301\u1ACCe\u0301"), "\u00E9\u1ACC\u00E9");
  EXPECT_EQ(normalization_form_c("\u1100\u1161"), "\uAC00");
}

TEST(Unicode, NumbersAndWhiteSpace) {
  for (const char32_t number : {U'0', U'\u00BD', U'\u0663', U'\u2167', U'\u3007'})
    EXPECT_TRUE(is_number(number));
  for (const char32_t other : {U'a', U'\u4E00', U' '}) EXPECT_FALSE(is_number(other));
  for (const char32_t space : {U' ', U'\t', U'\u0085', U'\u00A0', U'\u2003', U'\u3000'})
    EXPECT_TRUE(is_white_space(space));
  for (const char32_t other : {U'\0', U'\u200B', U'\uFEFF', U'\x1F'}) EXPECT_FALSE(is_white_space(other));
}

}  // namespace
}  // namespace chorus
