#include "data/text/json.h"

#include <algorithm>

#include "data/text/text.h"
#include "data/text/text_file.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

constexpr std::string_view zero_character = "\\u0000";

template <typename Json>
Json parse_any(const std::string& text, const std::string& origin) {
  try {
    return Json::parse(text);
  } catch (const typename Json::exception& error) {
    throw DataError(fmt::format("{}: is not valid JSON: {}", origin, error.what()));
  }
}

void take_json_lines(
    const std::string& text, const std::filesystem::path& path,
    const std::function<void(const nlohmann::ordered_json& line, const std::string& where)>& take) {
  for (const NumberedLine& line : filled_lines(text)) {
    const std::string where = fmt::format("{}:{}", path.string(), line.number);
    take(parse_any<nlohmann::ordered_json>(line.text, where), where);
  }
}

}  // namespace

nlohmann::json parse_json(const std::string& text, const std::string& origin) {
  nlohmann::json json = parse_any<nlohmann::json>(text, origin);
  if (const std::size_t zero = text.find(zero_character);
      zero != std::string::npos && holds_zero_character(json)) {
    const auto lines = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(zero), '\n');
    throw DataError(fmt::format("{}: {}, a zero character, which no text holds{}", origin, zero_character,
                                lines > 0 ? fmt::format(", in line {}", lines + 1) : std::string()));
  }
  return json;
}

nlohmann::json parse_foreign_json(const std::string& text, const std::string& origin) {
  return parse_any<nlohmann::json>(text, origin);
}

nlohmann::json read_json_file(const std::filesystem::path& path) {
  return parse_any<nlohmann::json>(read_unchecked_text(path), path.string());
}

void for_each_json_line(
    const std::filesystem::path& path,
    const std::function<void(const nlohmann::ordered_json& line, const std::string& where)>& take) {
  take_json_lines(read_unchecked_text(path), path, take);
}

std::string for_each_log_line(
    const std::filesystem::path& path,
    const std::function<void(const nlohmann::ordered_json& line, const std::string& where)>& take) {
  std::string text = read_unchecked_text(path);
  const std::size_t end = text.rfind('\n') + 1;  // of the last line that has one
  const std::string last = text.substr(end);
  const bool is_cut = !is_blank(last) && !nlohmann::json::accept(last);
  if (is_cut) text.resize(end);
  take_json_lines(text, path, take);
  return is_cut ? fmt::format("{}: the last line is cut, as a killed process leaves it, and left out",
                              path.string())
                : "";
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

template <typename Json>
BasicJsonFields<Json>::BasicJsonFields(const Json& object, std::string where)
    : object_(object), where_(std::move(where)) {
  require<DataError>(object_.is_object(), where_, ": must be an object, is ", object_.type_name());
}

template <typename Json>
BasicJsonFields<Json>::BasicJsonFields(const Json& object, std::string where,
                                       const std::vector<std::string>& known)
    : BasicJsonFields(object, std::move(where)) {
  for (const std::string& key : keys()) {
    require<DataError>(!has(key) || std::ranges::find(known, key) != known.end(), where_, ": unknown field '",
                       key, "'; did you mean '", nearest(key, known), "'?");
  }
}

template <typename Json>
std::vector<std::string> BasicJsonFields<Json>::keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object_.items()) keys.push_back(key);
  return keys;
}

template <typename Json>
const Json& BasicJsonFields<Json>::operator[](std::string_view key) const {
  static const Json null;
  const auto found = object_.find(key);
  return found == object_.end() ? null : *found;
}

template <typename Json>
std::optional<std::int64_t> BasicJsonFields<Json>::integer(std::string_view key) const {
  const Json& value = (*this)[key];
  if (value.is_null()) return std::nullopt;
  const bool fits =
      value.is_number_integer() && (!value.is_number_unsigned() || value.template get<std::int64_t>() >= 0);
  require<DataError>(fits, where_, ": field '", key, "' must be a whole number of 64 bits, is ",
                     value.dump());
  return value.template get<std::int64_t>();
}

template <typename Json>
std::optional<double> BasicJsonFields<Json>::number(std::string_view key) const {
  const Json& value = (*this)[key];
  if (value.is_null()) return std::nullopt;
  require<DataError>(value.is_number(), where_, ": field '", key, "' must be a number, is ",
                     value.type_name(), " ", value.dump());
  return value.template get<double>();
}

template <typename Json>
std::optional<bool> BasicJsonFields<Json>::boolean(std::string_view key) const {
  const Json& value = (*this)[key];
  if (value.is_null()) return std::nullopt;
  require<DataError>(value.is_boolean(), where_, ": field '", key, "' must be true or false, is ",
                     value.dump());
  return value.template get<bool>();
}

template <typename Json>
std::optional<std::string> BasicJsonFields<Json>::text(std::string_view key) const {
  const Json& value = (*this)[key];
  if (value.is_null()) return std::nullopt;
  require<DataError>(value.is_string(), where_, ": field '", key, "' must be a string, is ",
                     value.type_name(), " ", value.dump());
  return value.template get<std::string>();
}

template <typename Json>
std::size_t BasicJsonFields<Json>::word(std::string_view key, const std::vector<std::string>& words) const {
  const std::string value = text(key).value_or(words.front());
  const auto found = std::ranges::find(words, value);
  require<DataError>(found != words.end(), where_, ": field '", key, "' is '", value, "', it must be one of ",
                     joined(words, ", "));
  return static_cast<std::size_t>(found - words.begin());
}

template <typename Json>
void BasicJsonFields<Json>::require_null_or(std::string_view key, const Json& expected,
                                            std::string_view reason) const {
  const Json& value = (*this)[key];
  require<DataError>(value.is_null() || value == expected, where_, ": ", key, " is ", value.dump(), "; ",
                     reason);
}

template <typename Json>
const Json& BasicJsonFields<Json>::get(std::string_view key) const {
  require<DataError>(has(key), where_, ": field '", key, "' is missing");
  return (*this)[key];
}

template <typename Json>
std::int64_t BasicJsonFields<Json>::required_integer(std::string_view key) const {
  get(key);
  return *integer(key);
}

template <typename Json>
std::string BasicJsonFields<Json>::required_text(std::string_view key) const {
  get(key);
  return *text(key);
}

template <typename Json>
std::string BasicJsonFields<Json>::filled_text(std::string_view key) const {
  std::string value = required_text(key);
  require<DataError>(!value.empty(), where_, ": field '", key, "' is empty");
  return value;
}

template <typename Json>
const Json& BasicJsonFields<Json>::list(std::string_view key) const {
  const Json& value = get(key);
  require<DataError>(value.is_array() && !value.empty(), where_, ": field '", key,
                     "' must be a list that is not empty, is ", value.dump());
  return value;
}

template class BasicJsonFields<nlohmann::json>;
template class BasicJsonFields<nlohmann::ordered_json>;

}  // namespace chorus
