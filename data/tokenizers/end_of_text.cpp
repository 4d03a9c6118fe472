#include "data/tokenizers/end_of_text.h"

#include "data/text/json.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

std::optional<std::int32_t> named_end(const JsonFields& fields, const TokenLookup& tokens) {
  const nlohmann::json& token = fields["eos_token"];
  if (token.is_null()) return std::nullopt;
  // Transformers writes it as a text, or as an object with its flags.
  const std::string name = token.is_object()
                               ? JsonFields(token, fields.where() + ": eos_token").required_text("content")
                               : fields.required_text("eos_token");
  const auto id = tokens.id(name);
  require<DataError>(id.has_value(), fields.where(), ": eos_token '", name, "' is not in tokenizer.json");
  return id;
}

std::optional<std::int32_t> numbered_end(const JsonFields& fields, const TokenLookup& tokens) {
  const nlohmann::json& value = fields["eos_token_id"];
  const nlohmann::json& first = value.is_array() && !value.empty() ? value.front() : value;
  if (first.is_null()) return std::nullopt;
  const bool fits =
      first.is_number_unsigned() && first.get<std::uint64_t>() < static_cast<std::uint64_t>(tokens.size);
  require<DataError>(fits, fields.where(), ": eos_token_id ", value.dump(),
                     " is no token of tokenizer.json, which has ", tokens.size);
  return first.get<std::int32_t>();
}

}  // namespace

std::optional<std::int32_t> find_end_of_text(const std::filesystem::path& folder, const TokenLookup& tokens) {
  const auto ask = [&](const char* name, const auto& end_of) -> std::optional<std::int32_t> {
    const std::filesystem::path path = folder / name;
    if (!std::filesystem::exists(path)) return std::nullopt;
    const nlohmann::json json = read_json_file(path);
    return end_of(JsonFields(json, path.string()), tokens);
  };
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"})
    if (const auto end = ask(name, named_end)) return end;
  for (const char* name : {"generation_config.json", "config.json"})
    if (const auto end = ask(name, numbered_end)) return end;
  return std::nullopt;
}

}  // namespace chorus
