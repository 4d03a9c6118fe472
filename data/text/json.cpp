#include "data/text/json.h"

#include <algorithm>

#include "data/text/text.h"
#include "ops/base/error.h"

namespace chorus {

namespace {
constexpr std::string_view zero_character = "\\u0000";
}

nlohmann::json parse_json(const std::string& text, const std::string& origin) {
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("{}: is not valid JSON: {}", origin, error.what()));
  }
  if (const std::size_t zero = text.find(zero_character);
      zero != std::string::npos && holds_zero_character(json)) {
    const auto lines = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(zero), '\n');
    throw DataError(fmt::format("{}: {}, a zero character, which no text holds{}", origin, zero_character,
                                lines > 0 ? fmt::format(", in line {}", lines + 1) : std::string()));
  }
  return json;
}

bool holds_zero_character(const nlohmann::json& json) {
  if (json.is_string()) return json.get_ref<const std::string&>().find('\0') != std::string::npos;
  if (json.is_object()) {
    for (const auto& [name, value] : json.items())
      if (name.find('\0') != std::string::npos || holds_zero_character(value)) return true;
  }
  return json.is_array() && std::any_of(json.begin(), json.end(), holds_zero_character);
}

std::vector<std::string> parse_names(const nlohmann::json& json, const std::string& origin) {
  require<DataError>(json.is_array() && !json.empty(), origin, ": must be a list of names");
  std::vector<std::string> names;
  for (const nlohmann::json& name : json) {
    const bool good = name.is_string() && !is_blank(name.get_ref<const std::string&>());
    require<DataError>(good, origin, ": ", name.dump(), " is no name; each must be a text");
    const bool is_new = std::find(names.begin(), names.end(), name.get<std::string>()) == names.end();
    require<DataError>(is_new, origin, ": ", name.dump(), " stands there twice");
    names.push_back(name.get<std::string>());
  }
  return names;
}

JsonObject::JsonObject(const nlohmann::json& object, std::string origin, std::vector<std::string> known)
    : object_(object), origin_(std::move(origin)) {
  require<DataError>(object_.is_object(), origin_, ": must be an object, is ", object_.type_name());
  for (const auto& [name, value] : object_.items()) {
    if (value.is_null()) continue;
    const bool is_known = std::find(known.begin(), known.end(), name) != known.end();
    require<DataError>(is_known, origin_, ": unknown field '", name, "'; did you mean '",
                       nearest(name, known), "'?");
  }
}

bool JsonObject::has(const std::string& name) const {
  const auto found = object_.find(name);
  return found != object_.end() && !found->is_null();
}

std::vector<std::string> JsonObject::names() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : object_.items())
    if (!value.is_null()) names.push_back(name);
  return names;
}

const nlohmann::json& JsonObject::get(const std::string& name) const {
  require<DataError>(has(name), origin_, ": field '", name, "' is missing");
  return object_.at(name);
}

std::string JsonObject::text(const std::string& name) const {
  const nlohmann::json& value = get(name);
  require<DataError>(value.is_string(), origin_, ": field '", name, "' must be a string, is ",
                     value.type_name());
  return value.get<std::string>();
}

std::string JsonObject::filled_text(const std::string& name) const {
  const std::string value = text(name);
  require<DataError>(!value.empty(), origin_, ": field '", name, "' is empty");
  return value;
}

std::string JsonObject::text_or(const std::string& name, const std::string& otherwise) const {
  return has(name) ? text(name) : otherwise;
}

std::size_t JsonObject::word(const std::string& name, const std::vector<std::string>& words) const {
  if (!has(name)) return 0;
  const std::string value = text(name);
  const auto found = std::find(words.begin(), words.end(), value);
  require<DataError>(found != words.end(), origin_, ": field '", name, "' is '", value,
                     "', it must be one of ", joined(words, ", "));
  return static_cast<std::size_t>(found - words.begin());
}

bool JsonObject::flag_or(const std::string& name, bool otherwise) const {
  if (!has(name)) return otherwise;
  const nlohmann::json& value = get(name);
  require<DataError>(value.is_boolean(), origin_, ": field '", name, "' must be true or false, is ",
                     value.dump());
  return value.get<bool>();
}

const nlohmann::json& JsonObject::list(const std::string& name) const {
  const nlohmann::json& value = get(name);
  require<DataError>(value.is_array() && !value.empty(), origin_, ": field '", name,
                     "' must be a list that is not empty, is ", value.dump());
  return value;
}

}  // namespace chorus
