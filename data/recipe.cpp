#include "data/recipe.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "data/text_file.h"
#include "data/words.h"
#include "ops/error.h"

namespace chorus {

namespace {

using Json = nlohmann::json;

// Reads the fields of one JSON object and refuses those it does not know.
class Fields {
 public:
  Fields(const Json& object, std::string origin, std::vector<std::string> known)
      : object_(object), origin_(std::move(origin)) {
    require<DataError>(object_.is_object(), origin_, ": must be an object, is ", object_.type_name());
    for (const auto& [name, value] : object_.items()) {
      const bool is_known = std::find(known.begin(), known.end(), name) != known.end();
      require<DataError>(is_known, origin_, ": unknown field '", name, "'; did you mean '",
                         nearest(name, known), "'?");
    }
  }

  bool has(const std::string& name) const { return object_.contains(name); }

  const Json& get(const std::string& name) const {
    require<DataError>(has(name), origin_, ": field '", name, "' is missing");
    return object_.at(name);
  }

  std::string text(const std::string& name) const {
    const Json& value = get(name);
    require<DataError>(value.is_string(), origin_, ": field '", name, "' must be a string, is ",
                       value.type_name());
    return value.get<std::string>();
  }

  // One of two words; true for the second. The first is the default.
  bool is_second(const std::string& name, const std::string& first, const std::string& second) const {
    if (!has(name)) return false;
    const std::string value = text(name);
    require<DataError>(value == first || value == second, origin_, ": field '", name, "' is '", value,
                       "', it must be '", first, "' or '", second, "'");
    return value == second;
  }

 private:
  const Json& object_;
  std::string origin_;
};

Recipe::PartKind parse_kind(const std::string& kind, const std::string& origin) {
  if (kind == "text") return Recipe::PartKind::text;
  if (kind == "history") return Recipe::PartKind::history;
  require<DataError>(kind == "answer", origin, ": kind '", kind, "' is none of text, history, answer");
  return Recipe::PartKind::answer;
}

// Fills in nonsense, so that wrong placeholders are found when the recipe is read.
void check_placeholders(const Recipe::Part& part, const std::string& origin) {
  std::map<std::string, std::string> values{
      {"labels", ""}, {"speaker", ""}, {"utterance", ""}, {"index", ""}};
  if (part.kind == Recipe::PartKind::history) values.erase("labels");
  if (part.kind == Recipe::PartKind::answer) values = {{"label", "x"}};
  const std::string filled = fill_in(part.text, values, origin);
  require<DataError>(
      part.kind != Recipe::PartKind::answer || filled != fill_in(part.text, {{"label", "y"}}, origin), origin,
      ": the answer does not contain {label}");
}

std::vector<Recipe::Part> parse_parts(const Json& json, const std::string& origin) {
  require<DataError>(json.is_array(), origin, ": field 'parts' must be an array, is ", json.type_name());
  std::vector<Recipe::Part> parts;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const std::string where = fmt::format("{}: part {}", origin, i + 1);
    const Fields fields(json[i], where, {"kind", "text"});
    parts.push_back({parse_kind(fields.text("kind"), where), fields.text("text")});
    check_placeholders(parts.back(), where);
  }
  const auto count = [&](Recipe::PartKind kind) {
    return std::count_if(parts.begin(), parts.end(),
                         [&](const Recipe::Part& part) { return part.kind == kind; });
  };
  require<DataError>(count(Recipe::PartKind::answer) == 1 && parts.back().kind == Recipe::PartKind::answer,
                     origin, ": exactly one part must be the answer, and it must be the last");
  require<DataError>(count(Recipe::PartKind::history) <= 1, origin, ": there is more than one history");
  return parts;
}

std::map<std::string, std::string> parse_label_words(const Json& json, const std::string& origin) {
  require<DataError>(json.is_object(), origin, ": field 'label_words' must be an object, is ",
                     json.type_name());
  std::map<std::string, std::string> words;
  for (const auto& [label, word] : json.items()) {
    require<DataError>(word.is_string() && !word.get<std::string>().empty(), origin, ": the word for label '",
                       label, "' must be a string that is not empty");
    words[label] = word.get<std::string>();
  }
  return words;
}

std::optional<std::int64_t> parse_history_field(const Json& json, const std::string& origin) {
  if (json == "all") return std::nullopt;
  require<DataError>(json.is_number_integer() && json.get<std::int64_t>() >= 0, origin,
                     ": field 'history' must be a number of lines or \"all\", is ", json.dump());
  return json.get<std::int64_t>();
}

}  // namespace

Recipe Recipe::parse(const std::string& json, const std::string& origin) {
  Json parsed;
  try {
    parsed = Json::parse(json);
  } catch (const Json::exception& error) {
    throw DataError(fmt::format("{}: is not valid JSON: {}", origin, error.what()));
  }
  const Fields fields(parsed, origin,
                      {"name", "description", "history", "speakers", "label_words", "label_separator",
                       "supervise", "answer_end", "parts"});
  Recipe recipe;
  recipe.json = json;
  recipe.name = fields.text("name");
  require<DataError>(!recipe.name.empty(), origin, ": field 'name' is empty");
  if (fields.has("description")) recipe.description = fields.text("description");
  if (fields.has("history")) recipe.history = parse_history_field(fields.get("history"), origin);
  recipe.numbered_speakers = fields.is_second("speakers", "names", "numbered");
  recipe.supervise_all = fields.is_second("supervise", "answer", "all");
  recipe.open_answer = fields.is_second("answer_end", "end_of_text", "none");
  if (fields.has("label_words")) recipe.label_words = parse_label_words(fields.get("label_words"), origin);
  if (fields.has("label_separator")) recipe.label_separator = fields.text("label_separator");
  recipe.parts = parse_parts(fields.get("parts"), origin);
  return recipe;
}

Recipe Recipe::load(const std::string& name_or_path) {
  std::vector<std::string> names;
  for (const ShippedRecipe& recipe : shipped_recipes()) {
    if (recipe.name == name_or_path) return parse(recipe.json, "recipe " + recipe.name);
    names.push_back(recipe.name);
  }
  require<ConfigurationError>(std::filesystem::exists(name_or_path), "--recipe ", name_or_path,
                              " is neither a file nor a recipe of this program (", joined(names, ", "), ")");
  return parse(read_text_file(name_or_path), name_or_path);
}

std::string Recipe::word(const std::string& label) const {
  const auto found = label_words.find(label);
  return found == label_words.end() ? label : found->second;
}

std::optional<std::int64_t> parse_history(const std::string& text, const std::string& origin) {
  if (text == "all") return std::nullopt;
  std::int64_t lines = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), lines);
  require<ConfigurationError>(error == std::errc() && end == text.data() + text.size() && lines >= 0, origin,
                              " is '", text, "', it must be a number of lines or 'all'");
  return lines;
}

}  // namespace chorus
