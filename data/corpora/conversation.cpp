#include "data/corpora/conversation.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "data/corpora/feature_places.h"
#include "data/corpora/rows.h"
#include "data/text/json.h"
#include "data/text/text.h"

namespace chorus {

namespace {

using Json = nlohmann::json;
using Role = Message::Role;

// --- rows ------------------------------------------------------------------------------------------------------

// The elements of one JSON array, each with the line that it begins in. What is wrong within an element is found when it is
// parsed.
class ArrayElements {
 public:
  ArrayElements(std::string_view text, std::string path) : text_(text), path_(std::move(path)) {}

  std::optional<NumberedView> next() {
    skip_space();
    if (is_first_) {
      ++at_;  // the bracket
      skip_space();
    }
    if (is_next(']')) {
      ++at_;
      skip_space();
      check(at_ == text_.size(), "something stands behind the end of the array");
      return std::nullopt;
    }
    if (!is_first_) {
      check(is_next(','), "between two elements must stand a comma");
      ++at_;
      skip_space();
    }
    is_first_ = false;
    const std::int64_t line = line_;
    const std::string_view element = trimmed(take_element());
    check(!element.empty(), "an element is missing");
    return NumberedView{line, element};
  }

 private:
  void check(bool holds, const char* what) const {
    require<DataError>(holds, path_, ":", line_, ": no JSON array: ", what);
  }
  bool is_next(char c) const {
    check(at_ < text_.size(), "it has no end");
    return text_[at_] == c;
  }
  void advance() {
    if (text_[at_++] == '\n') ++line_;
  }
  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos)
      advance();
  }
  // As far as the comma or bracket behind it.
  std::string_view take_element() {
    const std::size_t begin = at_;
    std::int64_t depth = 0;
    for (bool in_string = false; at_ < text_.size(); advance()) {
      const char c = text_[at_];
      if (in_string) {
        if (c == '\\' && at_ + 1 < text_.size()) {
          advance();
        } else if (c == '"') {
          in_string = false;
        }
        continue;
      }
      if (depth == 0 && (c == ',' || c == ']')) break;
      if (c == '"') in_string = true;
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
    }
    return text_.substr(begin, at_ - begin);
  }

  std::string_view text_;
  std::string path_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1;
  bool is_first_ = true;
};

// --- forms -----------------------------------------------------------------------------------------------------

constexpr const char *openai = "OpenAI's messages", *sharegpt = "ShareGPT's conversations",
                     *alpaca = "Alpaca's instructions";

std::optional<std::string> form_of(const Json& object) {
  if (!object.is_object()) return std::nullopt;
  const auto has = [&](const char* key) { return object.contains(key) && !object[key].is_null(); };
  if (has("messages")) return openai;
  if (has("conversations")) return sharegpt;
  if (has("instruction") && has("output")) return alpaca;
  return std::nullopt;
}

// A field, or null for one that is missing.
const Json& field(const Json& object, const char* key) {
  static const Json none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

bool is_filled(const Json& value) { return !value.is_null() && !(value.is_structured() && value.empty()); }

std::string filled_text(const Json& value, const std::string& what, const RowPlace& place) {
  require_row(!value.is_null(), place, "empty text", what + " is missing");
  require_row(value.is_string(), place, "no text", fmt::format("{} is {}", what, value.type_name()));
  require_row(!is_blank(value.get_ref<const std::string&>()), place, "empty text", what + " says nothing");
  return value.get<std::string>();
}

// Missing, null and blank are alike: many writers fill a field that has nothing to say with "".
std::string text_or_nothing(const Json& value, const std::string& what, const RowPlace& place) {
  if (value.is_null() || (value.is_string() && is_blank(value.get_ref<const std::string&>()))) return "";
  return filled_text(value, what, place);
}

struct NamedRole {
  const char* name;
  Role role;
};

Role role_of(const Json& value, std::span<const NamedRole> known, const std::string& what,
             const RowPlace& place) {
  const std::string name = filled_text(value, what, place);
  std::vector<std::string> names;
  for (const NamedRole& each : known) {
    if (each.name == name) return each.role;
    names.emplace_back(each.name);
  }
  const std::vector<std::string> of_tools{"tool", "function", "ipython", "function_call", "observation"};
  const bool is_tool = std::ranges::count(of_tools, name) > 0;
  require_row(false, place, is_tool ? "tools" : "unknown role",
              fmt::format("{} is '{}'; known are {}", what, name, joined(names, ", ")));
  return Role::user;
}

const Json& list_of_turns(const Json& value, const char* name, const RowPlace& place) {
  require_row(value.is_array() && !value.empty(), place, "no turns",
              fmt::format("'{}' must be an array with at least one turn", name));
  return value;
}

// Of a text, or of OpenAI's list of parts.
void read_content(const Json& row, const Json& turn, const std::string& what, const RowPlace& place,
                  Message& message) {
  for (const char* call : {"tool_calls", "function_call"})
    require_row(!is_filled(field(turn, call)), place, "tools", fmt::format("{} has '{}'", what, call));
  const Json& content = field(turn, "content");
  const std::string name = "the content of " + what, part_name = "a part of " + name;
  if (!content.is_array()) {
    message.content = filled_text(content, name, place);
    return;
  }
  for (const Json& part : content) {
    if (const std::optional<FeaturePart> features = feature_part(row, part, part_name, place)) {
      require_row(message.role != Role::assistant, place, "features in an answer",
                  part_name + " is no text, and an assistant writes nothing else");
      message.content += features->text;
      if (!features->key.empty()) message.keys.push_back(features->key);
      continue;
    }
    const Json& type = part.is_object() ? field(part, "type") : part;
    require_row(type == "text" || type == "input_text" || type == "output_text", place,
                "a part that is no text", fmt::format("{} has a part of type {}", name, type.dump()));
    message.content += filled_text(field(part, "text"), part_name, place);
  }
  require_row(!is_blank(message.content), place, "empty text", name + " says nothing");
}

std::vector<Message> parse_openai(const Json& object, const RowPlace& place) {
  static constexpr std::array<NamedRole, 4> roles{{{"system", Role::system},
                                                   {"user", Role::user},
                                                   {"assistant", Role::assistant},
                                                   {"developer", Role::system}}};
  require_row(!is_filled(field(object, "tools")), place, "tools", "the conversation has 'tools'");
  std::vector<Message> messages;
  for (const Json& turn : list_of_turns(field(object, "messages"), "messages", place)) {
    const std::string what = fmt::format("message {}", messages.size() + 1);
    require_row(turn.is_object(), place, "no object", what + " must be an object with role and content");
    Message message{role_of(field(turn, "role"), roles, "the role of " + what, place), "", "", true};
    read_content(object, turn, what, place, message);
    const Json& weight = field(turn, "weight");
    require_row(weight.is_null() || weight == 0 || weight == 1, place, "bad weight",
                fmt::format("the weight of {} is {}, it must be 0 or 1", what, weight.dump()));
    message.trained = weight != 0;
    messages.push_back(std::move(message));
  }
  return messages;
}

void add_system(const Json& value, std::vector<Message>& messages, const RowPlace& place) {
  const std::string system = text_or_nothing(value, "'system'", place);
  if (!system.empty()) messages.push_back({Role::system, system, "", true});
}

std::vector<Message> parse_sharegpt(const Json& object, const RowPlace& place) {
  static constexpr std::array<NamedRole, 6> roles{{{"system", Role::system},
                                                   {"human", Role::user},
                                                   {"gpt", Role::assistant},
                                                   {"user", Role::user},
                                                   {"assistant", Role::assistant},
                                                   {"chatgpt", Role::assistant}}};
  require_row(!is_filled(field(object, "tools")), place, "tools", "the conversation has 'tools'");
  std::vector<Message> messages;
  add_system(field(object, "system"), messages, place);
  std::int64_t number = 0;
  for (const Json& turn : list_of_turns(field(object, "conversations"), "conversations", place)) {
    const std::string what = fmt::format("turn {}", ++number);
    require_row(turn.is_object(), place, "no object", what + " must be an object with from and value");
    const Role role = role_of(field(turn, "from"), roles, "'from' of " + what, place);
    messages.push_back({role, filled_text(field(turn, "value"), "the value of " + what, place), "", true});
  }
  return messages;
}

std::vector<Message> parse_alpaca(const Json& object, const RowPlace& place) {
  std::vector<Message> messages;
  add_system(field(object, "system"), messages, place);
  const Json& history = field(object, "history");
  for (const Json& exchange : history.is_array() ? history : Json::array()) {
    require_row(exchange.is_array() && exchange.size() == 2, place, "bad history",
                "an element of 'history' must be an instruction and its response");
    messages.push_back(
        {Role::user, filled_text(exchange[0], "an instruction of 'history'", place), "", true});
    messages.push_back(
        {Role::assistant, filled_text(exchange[1], "a response of 'history'", place), "", true});
  }
  require_row(history.is_null() || history.is_array(), place, "bad history", "'history' must be a list");
  messages.push_back({Role::user, filled_text(field(object, "instruction"), "'instruction'", place),
                      text_or_nothing(field(object, "input"), "'input'", place), true});
  messages.push_back({Role::assistant, filled_text(field(object, "output"), "'output'", place), "", true});
  return messages;
}

Json parse_row(std::string_view text, const RowPlace& place) {
  require_utf8(text, place);
  Json object;
  try {
    object = Json::parse(text);
  } catch (const Json::exception& error) {
    require_row(false, place, "no JSON", error.what());
  }
  require_row(!holds_zero_character(object), place, "zero character",
              "a text holds \\u0000, which no text does");
  return object;
}

std::string describe_no_form(std::string_view row) {
  const Json object = Json::parse(row, nullptr, false);
  if (!object.is_object()) return "no JSON object";
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return "an object with " + joined(keys, ", ");
}

// Gives one row after another.
std::function<std::optional<NumberedView>()> rows_of(MappedText& file) {
  const auto noted = [&file](const std::optional<NumberedView>& row) {
    if (row) file.read_up_to(row->text);
    return row;
  };
  const std::string_view text = file.text();
  require<DataError>(!is_blank(text), file.path().string(), ": is empty");
  if (trimmed(text).starts_with('['))
    return [noted, elements = ArrayElements(text, file.path().string())]() mutable {
      return noted(elements.next());
    };
  return [noted, lines = LineScanner(text)]() mutable { return noted(lines.next_filled()); };
}

}  // namespace

ConversationFile::ConversationFile(const std::filesystem::path& path) : file_(path) {
  std::int64_t first_line = 1;
  std::string found = "no JSON object";
  const auto all = rows_of(file_);
  while (const auto row = all()) {
    if (++count_ == 1) {
      first_line = row->number;
      found = describe_no_form(row->text);
    }
    if (!form_.empty()) continue;
    const Json object = Json::parse(row->text, nullptr, false);
    if (const auto form = object.is_discarded() ? std::nullopt : form_of(object)) form_ = *form;
  }
  rows_ = rows_of(file_);
  if (!form_.empty()) return;
  throw DataError(fmt::format(
      "{}:{}: {} is none of the forms of conversations: {{\"messages\": [{{\"role\", \"content\"}}]}}, "
      "{{\"conversations\": [{{\"from\", \"value\"}}]}}, {{\"instruction\", \"input\", \"output\"}}",
      path.string(), first_line, found));
}

std::optional<Conversation> ConversationFile::next(SplitLedger& ledger) {
  const std::optional<NumberedView> row = rows_();
  if (!row) return std::nullopt;
  const RowPlace place{file_.path().string(), row->number};
  const Json object = parse_row(row->text, place);
  require_row(form_of(object) == form_, place, "another form", "the file begins with " + form_);
  Conversation conversation{form_ == openai     ? parse_openai(object, place)
                            : form_ == sharegpt ? parse_sharegpt(object, place)
                                                : parse_alpaca(object, place),
                            row->number};
  std::vector<Message>& messages = conversation.messages;
  place_features(object, place, messages, ledger);
  for (std::size_t i = 1; i < messages.size(); ++i)
    require_row(messages[i].role != Role::system, place, "a system prompt that does not stand first",
                fmt::format("turn {} is one", i + 1));
  const auto is_answer = [](const Message& message) { return message.role == Role::assistant; };
  require_row(std::ranges::any_of(messages, is_answer), place, "no answer",
              "no turn is an assistant's, so there is nothing to learn");
  while (!is_answer(messages.back())) {
    messages.pop_back();
    ++ledger.notes["turns behind the last answer, left out"];
  }
  return conversation;
}

}  // namespace chorus
