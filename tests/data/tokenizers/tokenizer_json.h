#pragma once

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "data/text/utf8.h"
#include "data/tokenizers/byte_alphabet.h"

namespace chorus {

// One of the "added_tokens".
inline nlohmann::json added_token(std::int32_t id, const std::string& content,
                                  const nlohmann::json& flags = {}) {
  nlohmann::json token{{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                       {"rstrip", false}, {"normalized", false}, {"special", true}};
  if (!flags.is_null()) token.update(flags);
  return token;
}

// A tokenizer.json of byte-level BPE as those of Llama 3 and Qwen2 are: the 256 bytes, what `merges` make of them, and
// <|begin|> and <|endoftext|>. With a template, texts begin with <|begin|>.
inline nlohmann::json byte_level_json(const std::vector<std::pair<std::string, std::string>>& merges = {},
                                      bool with_template = false) {
  nlohmann::json vocabulary = nlohmann::json::object(), list = nlohmann::json::array();
  const ByteAlphabet alphabet;
  std::int32_t next = 0;
  for (int byte = 0; byte < 256; ++byte) {
    std::string character;
    alphabet.append(character, std::string(1, static_cast<char>(byte)));
    vocabulary[character] = next++;
  }
  for (const auto& [left, right] : merges) {
    if (!vocabulary.contains(left + right)) vocabulary[left + right] = next++;
    list.push_back({left, right});
  }
  nlohmann::json json;
  json["version"] = "1.0";
  json["added_tokens"] = {added_token(next, "<|begin|>"), added_token(next + 1, "<|endoftext|>")};
  json["normalizer"] = {{"type", "NFC"}};
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  json["decoder"] = {{"type", "ByteLevel"}};
  json["model"] = {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", list}};
  json["post_processor"] = nullptr;
  if (with_template) {
    json["post_processor"] = nlohmann::json::parse(R"({"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<|begin|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "special_tokens": {"<|begin|>": {"id": "<|begin|>", "tokens": ["<|begin|>"]}}})");
    json["post_processor"]["special_tokens"]["<|begin|>"]["ids"] = {next};
  }
  return json;
}

}  // namespace chorus
