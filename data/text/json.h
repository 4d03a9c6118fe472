#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace chorus {

// Throws DataError that begins with `origin` where the text is not valid JSON, or holds a zero character.
nlohmann::json parse_json(const std::string& text, const std::string& origin);

// A list of different names. Throws DataError that begins with `origin` unless it is one.
std::vector<std::string> parse_names(const nlohmann::json& json, const std::string& origin);

// Whether "\u0000" stands in one of its texts: no text holds a zero character, and files cannot keep it.
bool holds_zero_character(const nlohmann::json& json);

// Reads the fields of one JSON object and refuses those it does not know, naming the nearest. A field that is null is not
// there: tables saved as JSON lines have it for whatever another row has. All errors are DataError that begin with
// `origin`.
class JsonObject {
 public:
  // `object` must outlive this.
  JsonObject(const nlohmann::json& object, std::string origin, std::vector<std::string> known);

  bool has(const std::string& name) const;
  std::vector<std::string> names() const;  // of the fields that are there
  const nlohmann::json& get(const std::string& name) const;
  std::string text(const std::string& name) const;
  std::string filled_text(const std::string& name) const;  // not empty
  std::string text_or(const std::string& name, const std::string& otherwise) const;
  // Index of the field's value in `words`; 0 where the field is missing.
  std::size_t word(const std::string& name, const std::vector<std::string>& words) const;
  bool flag_or(const std::string& name, bool otherwise) const;
  const nlohmann::json& list(const std::string& name) const;  // not empty
  const std::string& origin() const { return origin_; }

 private:
  const nlohmann::json& object_;
  std::string origin_;
};

}  // namespace chorus
