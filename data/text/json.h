#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace chorus {

// Throws DataError that begins with `origin` where the text is not valid JSON, or holds a zero character.
nlohmann::json parse_json(const std::string& text, const std::string& origin);

// The same where zero characters are passed: the text may be another program's.
nlohmann::json parse_foreign_json(const std::string& text, const std::string& origin);

// Throws DataError that begins with the path. Zero characters are passed: the file may be another program's.
nlohmann::json read_json_file(const std::filesystem::path& path);

// Calls `take` with each line that is not blank, parsed, and its place, "FILE:LINE". Zero characters are passed, as
// generated answers may hold them. Throws DataError with that place for a line that is not valid JSON.
void for_each_json_line(
    const std::filesystem::path& path,
    const std::function<void(const nlohmann::ordered_json& line, const std::string& where)>& take);

// The same of a log to which a process appends, that may have been killed meanwhile: a last line that has no end and is not
// valid JSON is left out. Returns "", or a remark that says so.
std::string for_each_log_line(
    const std::filesystem::path& path,
    const std::function<void(const nlohmann::ordered_json& line, const std::string& where)>& take);

// A list of different names. Throws DataError that begins with `origin` unless it is one.
std::vector<std::string> parse_names(const nlohmann::json& json, const std::string& origin);

// Whether "\u0000" stands in one of its texts: no text holds a zero character, and files cannot keep it.
bool holds_zero_character(const nlohmann::json& json);

// The fields of a JSON object of a file. A field that is null is not there: tables saved as JSON lines have it for
// whatever another row has. Every error is a DataError with `where`, which names the object, the field and its value.
// Json is nlohmann::json or ordered_json. Refers to `object`.
template <typename Json>
class BasicJsonFields {
 public:
  // Throws unless `object` is one.
  BasicJsonFields(const Json& object, std::string where);
  // Throws also for a field that is not `known`, naming the nearest that is.
  BasicJsonFields(const Json& object, std::string where, const std::vector<std::string>& known);

  bool has(std::string_view key) const { return !(*this)[key].is_null(); }
  std::vector<std::string> keys() const;  // also of fields that are null
  // The field, or null for one that is missing.
  const Json& operator[](std::string_view key) const;

  // None where the field is missing; throw where it is of another type.
  std::optional<std::int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> text(std::string_view key) const;
  // Throws, with the reason, where the field is neither missing nor `expected`.
  void require_null_or(std::string_view key, const Json& expected, std::string_view reason) const;
  // The index of the field's value in `words`; 0 where the field is missing.
  std::size_t word(std::string_view key, const std::vector<std::string>& words) const;

  // Throw where the field is missing.
  const Json& get(std::string_view key) const;
  std::int64_t required_integer(std::string_view key) const;
  std::string required_text(std::string_view key) const;
  std::string filled_text(std::string_view key) const;  // not empty
  const Json& list(std::string_view key) const;         // not empty

  const std::string& where() const { return where_; }

 private:
  const Json& object_;
  std::string where_;
};

using JsonFields = BasicJsonFields<nlohmann::json>;
using OrderedJsonFields = BasicJsonFields<nlohmann::ordered_json>;

}  // namespace chorus
