#include "data/prompts/recipe.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "data/corpora/side_texts.h"
#include "data/text/json.h"
#include "data/text/text.h"
#include "data/text/text_file.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

using Json = nlohmann::json;
using PartKind = Recipe::PartKind;
using Task = Recipe::Task;
using Placeholders = std::map<std::string, std::string>;

bool is_repeated(PartKind kind) { return kind != PartKind::text && kind != PartKind::answer; }

// What may stand in a part, with nonsense for values. A prompt must not tell what it asks for.
Placeholders placeholders(PartKind kind, Task task) {
  Placeholders known{
      {"speaker", ""}, {"speaker_number", ""}, {"utterance", ""}, {"index", ""}, {"features", ""}};
  if (kind == PartKind::answer) return {{"label", "x"}};
  if (kind == PartKind::demonstrations) {
    known.erase("features");
    known["label"] = "";
  }
  if (kind == PartKind::text) {
    known["labels"] = "";
    for (const char* hint : {"speaker", "speaker_number"})
      if (task == Task::speaker) known.erase(hint);
    for (const char* hint : {"utterance", "features"})
      if (task == Task::impact) known.erase(hint);
  }
  return known;
}

void check_variants(const Recipe::Part& part, Task task, const Placeholders& known,
                    const std::string& origin) {
  require<DataError>(part.variants.empty() || is_repeated(part.kind) ||
                         (part.kind == PartKind::text && task != Task::impact),
                     origin, ": fields 'where' and 'captioned' are for lines whose side texts may be shown");
  for (const Recipe::Variant& variant : part.variants) {
    Placeholders more = known;
    for (const std::string& name : variant.has) {
      require<DataError>(is_side_name(name), origin, ": '", name, "' in 'where': ", side_name_rule);
      more[name] = "";
    }
    fill_in(variant.text, more, origin);
  }
}

// Fills in nonsense, so that wrong placeholders are found when the recipe is read.
void check_placeholders(const Recipe::Part& part, Task task, const std::string& origin) {
  const Placeholders known = placeholders(part.kind, task);
  const std::string filled = fill_in(part.text, known, origin);
  require<DataError>(part.kind != PartKind::answer || filled != fill_in(part.text, {{"label", "y"}}, origin),
                     origin, ": the answer does not contain {label}");
  check_variants(part, task, known, origin);
  require<DataError>(is_repeated(part.kind) || (part.before.empty() && part.after.empty()), origin,
                     ": 'before' and 'after' are for history, future and demonstrations");
  for (const std::string& edge : {part.before, part.after}) fill_in(edge, {{"labels", ""}}, origin);
}

std::vector<Recipe::Variant> parse_variants(const JsonFields& part) {
  std::vector<Recipe::Variant> variants;
  const Json none = Json::array();
  for (const Json& json : part.has("where") ? part.list("where") : none) {
    const std::string where = fmt::format("{}: where {}", part.where(), variants.size() + 1);
    const JsonFields fields(json, where, {"has", "text", "optional"});
    variants.push_back({parse_names(fields.get("has"), where + ": has"), fields.required_text("text"),
                        fields.boolean("optional").value_or(false)});
  }
  if (const auto captioned = part.text("captioned")) variants.push_back({{"caption"}, *captioned, true});
  return variants;
}

std::vector<Recipe::Part> parse_parts(const Json& json, Task task, const std::string& origin) {
  require<DataError>(json.is_array(), origin, ": field 'parts' must be an array, is ", json.type_name());
  std::vector<Recipe::Part> parts;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const std::string where = fmt::format("{}: part {}", origin, i + 1);
    const JsonFields fields(json[i], where, {"kind", "text", "captioned", "where", "before", "after"});
    fields.get("kind");
    Recipe::Part& part = parts.emplace_back();
    part.kind =
        static_cast<PartKind>(fields.word("kind", {"text", "history", "future", "demonstrations", "answer"}));
    part.text = fields.required_text("text");
    part.variants = parse_variants(fields);
    part.before = fields.text("before").value_or("");
    part.after = fields.text("after").value_or("");
    check_placeholders(part, task, where);
  }
  const auto count = [&](PartKind kind) {
    return std::count_if(parts.begin(), parts.end(),
                         [&](const Recipe::Part& part) { return part.kind == kind; });
  };
  require<DataError>(count(PartKind::answer) == 1 && parts.back().kind == PartKind::answer, origin,
                     ": exactly one part must be the answer, and it must be the last");
  require<DataError>(count(PartKind::history) <= 1, origin, ": there is more than one history");
  require<DataError>(count(PartKind::future) <= 1, origin, ": there is more than one future");
  require<DataError>(count(PartKind::future) == 0 || task != Task::impact, origin,
                     ": an impact recipe asks before the line is known, so that no later ones can be shown");
  require<DataError>(count(PartKind::demonstrations) <= 1, origin, ": there is more than one demonstrations");
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

std::map<std::string, std::int64_t> parse_speaker_numbers(const Json& json, const std::string& origin) {
  require<DataError>(json.is_object(), origin, ": field 'speaker_numbers' must be an object, is ",
                     json.type_name());
  std::map<std::string, std::int64_t> numbers;
  for (const auto& [name, number] : json.items()) {
    require<DataError>(number.is_number_integer() && number.get<std::int64_t>() >= 0, origin,
                       ": the number of speaker '", name, "' must not be below 0, is ", number.dump());
    numbers[name] = number.get<std::int64_t>();
  }
  return numbers;
}

// Of the field `name`, history or future.
std::optional<std::int64_t> parse_lines(const JsonFields& fields, const char* name) {
  const Json& json = fields[name];
  if (json.is_null() || json == "all") return std::nullopt;
  require<DataError>(json.is_number_integer() && json.get<std::int64_t>() >= 0, fields.where(), ": field '",
                     name, "' must be a number of lines or \"all\", is ", json.dump());
  return json.get<std::int64_t>();
}

Recipe with_field(const Recipe& recipe, const char* field, const nlohmann::ordered_json& value) {
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(recipe.json);
  json[field] = value;
  return Recipe::parse(json.dump(2), "recipe " + recipe.name);
}

}  // namespace

Recipe Recipe::parse(const std::string& json, const std::string& origin) {
  const Json parsed = parse_json(json, origin);
  const JsonFields fields(
      parsed, origin,
      {"name", "description", "task", "tokenise", "history", "future", "speakers", "speaker_numbers",
       "label_words", "label_separator", "supervise", "answer_end", "chat_template", "parts"});
  Recipe recipe;
  recipe.json = json;
  recipe.name = fields.filled_text("name");
  recipe.description = fields.text("description").value_or("");
  recipe.task = static_cast<Task>(fields.word("task", {"emotion", "speaker", "impact"}));
  recipe.tokenisation = static_cast<Tokenisation>(fields.word("tokenise", {"parts", "whole"}));
  recipe.history = parse_lines(fields, "history");
  recipe.future = parse_lines(fields, "future");
  recipe.numbered_speakers = fields.word("speakers", {"names", "numbered"}) == 1;
  if (fields.has("speaker_numbers"))
    recipe.speaker_numbers = parse_speaker_numbers(fields.get("speaker_numbers"), origin);
  recipe.supervise_all = fields.word("supervise", {"answer", "all"}) == 1;
  recipe.open_answer = fields.word("answer_end", {"end_of_text", "none"}) == 1;
  if (fields.has("label_words")) recipe.label_words = parse_label_words(fields.get("label_words"), origin);
  recipe.label_separator = fields.text("label_separator").value_or(recipe.label_separator);
  recipe.parts = parse_parts(fields.get("parts"), recipe.task, origin);
  require<DataError>(!fields.has("future") || recipe.has(PartKind::future), origin,
                     ": field 'future' says how many lines a part of kind future shows, and there is none");
  if (fields.has("chat_template"))
    recipe.chat = ChatTemplate::parse(fields["chat_template"].dump(), origin + ": chat_template");
  require<DataError>(
      !recipe.chat || !recipe.open_answer, origin,
      ": the chat template ends answers itself, so that \"answer_end\" (--answer-end) must not "
      "be \"none\"");
  require<DataError>(recipe.task != Task::speaker || (recipe.numbered_speakers && recipe.label_words.empty()),
                     origin,
                     ": a recipe for speakers answers with their numbers: \"speakers\" must be "
                     "\"numbered\", and label_words have no meaning");
  return recipe;
}

Recipe Recipe::load(const std::string& name_or_path, const std::string& option) {
  std::vector<std::string> names;
  for (const ShippedRecipe& recipe : shipped_recipes()) {
    if (recipe.name == name_or_path) return parse(recipe.json, "recipe " + recipe.name);
    names.push_back(recipe.name);
  }
  require<ConfigurationError>(std::filesystem::exists(name_or_path), option, " ", name_or_path,
                              " is neither a file nor a recipe of this program (", joined(names, ", "), ")");
  return parse(read_text_file(name_or_path), name_or_path);
}

Recipe Recipe::with_history(const std::string& history, const std::string& origin) const {
  const std::optional<std::int64_t> lines = chorus::parse_history(history, origin);
  return with_field(*this, "history", lines ? nlohmann::ordered_json(*lines) : nlohmann::ordered_json("all"));
}

Recipe Recipe::with_open_answer(bool open) const {
  return with_field(*this, "answer_end", open ? "none" : "end_of_text");
}

Recipe Recipe::with_chat_template(const ChatTemplate& form) const {
  return with_field(*this, "chat_template", nlohmann::ordered_json::parse(form.json));
}

std::string Recipe::title() const { return chat ? name + ", chat template " + chat->name : name; }

std::string Recipe::word(const std::string& label) const {
  const auto found = label_words.find(label);
  return found == label_words.end() ? label : found->second;
}

bool Recipe::has(PartKind kind) const {
  return std::any_of(parts.begin(), parts.end(), [&](const Part& part) { return part.kind == kind; });
}

bool Recipe::mentions(std::string_view placeholder) const {
  const std::string mark = fmt::format("{{{}}}", placeholder);
  return std::any_of(parts.begin(), parts.end(), [&](const Part& part) {
    return part.text.find(mark) != std::string::npos ||
           std::any_of(part.variants.begin(), part.variants.end(),
                       [&](const Variant& variant) { return variant.text.find(mark) != std::string::npos; });
  });
}

std::set<std::string> Recipe::side_texts() const {
  std::set<std::string> names;
  for (const Part& part : parts) {
    for (const Variant& variant : part.variants) names.insert(variant.has.begin(), variant.has.end());
  }
  return names;
}

std::set<std::string> Recipe::needed_side_texts() const {
  std::set<std::string> names;
  for (const Part& part : parts) {
    for (const Variant& variant : part.variants)
      if (!variant.optional) names.insert(variant.has.begin(), variant.has.end());
  }
  return names;
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
