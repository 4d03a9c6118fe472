#include "data/tokenizers/tokenizer_part.h"

#include "ops/base/error.h"

namespace chorus {

namespace {

constexpr int deepest_sequence = 8;

void append_parts(const nlohmann::json& json, const std::string& where, std::string_view list, int depth,
                  std::vector<TokenizerPart>& parts) {
  require<DataError>(depth <= deepest_sequence, where, ": Sequences are nested more than ", deepest_sequence,
                     " deep");
  const JsonFields fields(json, where);
  std::string type = fields.required_text("type");
  if (type != "Sequence") {
    parts.push_back({fields, std::move(type)});
    return;
  }
  const nlohmann::json& inner = fields.get(list);
  require<DataError>(inner.is_array(), where, ": field '", list, "' must be a list");
  for (std::size_t i = 0; i < inner.size(); ++i)
    append_parts(inner[i], fmt::format("{}.{}[{}]", where, list, i), list, depth + 1, parts);
}

}  // namespace

bool TokenizerPart::flag(std::string_view key, bool otherwise) const {
  return fields.boolean(key).value_or(otherwise);
}

RegularExpression TokenizerPart::pattern() const {
  const JsonFields pattern(fields.get("pattern"), fields.where() + ": pattern");
  const std::string where = fmt::format("{}: {}", fields.where(), type);
  if (const auto expression = pattern.text("Regex")) return {*expression, where};
  if (const auto characters = pattern.text("String")) return RegularExpression::literal(*characters, where);
  throw DataError(fmt::format("{}: must be {{\"Regex\": …}} or {{\"String\": …}}", pattern.where()));
}

std::vector<TokenizerPart> parts_of(const nlohmann::json& json, const std::string& where,
                                    std::string_view list) {
  std::vector<TokenizerPart> parts;
  if (!json.is_null()) append_parts(json, where, list, 1, parts);
  return parts;
}

void refuse(const TokenizerPart& part, std::string_view supported) {
  throw DataError(fmt::format("{}: the type {} is not supported; supported are {}", part.fields.where(),
                              part.type, supported));
}

}  // namespace chorus
