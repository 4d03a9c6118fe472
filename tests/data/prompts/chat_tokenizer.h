#pragma once

#include <string>
#include <vector>

#include "tests/data/tokenizers/tokenizer_json.h"

namespace chorus {

// A tokenizer.json that has the 256 bytes as its words, and these tokens: what begins and ends texts, and others. Decoding
// gives back what was written, with all tokens.
inline nlohmann::json chat_tokenizer_json(const std::string& bos, const std::string& eos,
                                          const std::vector<std::string>& others = {}) {
  nlohmann::json json = byte_level_json({}, true);
  nlohmann::json& tokens = json["added_tokens"];
  tokens[0]["content"] = bos;
  tokens[1]["content"] = eos;
  for (const std::string& token : others)
    tokens.push_back(added_token(static_cast<std::int32_t>(256 + tokens.size()), token));
  return json;
}

}  // namespace chorus
