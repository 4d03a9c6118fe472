#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace chorus {

// What is asked about the tokens of a tokenizer.json.
struct TokenLookup {
  std::function<std::optional<std::int32_t>(const std::string& token)> id;
  std::int32_t size = 0;
};

// The token that ends a text, as Transformers finds it: what tokenizer_config.json and special_tokens_map.json in `folder`
// call eos_token; without that, the (first) eos_token_id of generation_config.json or config.json. None where no file says.
// Throws DataError for a file that is malformed or names a token that there is not.
std::optional<std::int32_t> find_end_of_text(const std::filesystem::path& folder, const TokenLookup& tokens);

}  // namespace chorus
