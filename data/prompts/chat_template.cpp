#include "data/prompts/chat_template.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include "data/text/json.h"
#include "data/text/text.h"
#include "data/text/text_file.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Kind = ChatPiece::Kind;

const std::map<std::string, Kind>& placeholder_kinds() {
  static const std::map<std::string, Kind> kinds{{"bos", Kind::bos},
                                                 {"eos", Kind::eos},
                                                 {"content", Kind::content},
                                                 {"input", Kind::input},
                                                 {"system", Kind::system}};
  return kinds;
}

// Cuts a pattern at its placeholders and tokens.
class PatternParser {
 public:
  PatternParser(const std::vector<std::string>& tokens, std::string origin)
      : tokens_(tokens), origin_(std::move(origin)) {}

  // `contents` are the placeholders that it must hold, each once.
  ChatPattern parse(const std::string& text, const std::vector<std::string>& contents) const {
    ChatPattern pattern;
    std::string words;
    const auto close = [&] {
      if (!words.empty()) pattern.push_back({Kind::text, std::exchange(words, {})});
    };
    for (std::size_t i = 0; i < text.size();) {
      if (const std::string token = token_at(text, i); !token.empty()) {
        close();
        pattern.push_back({Kind::token, token});
        i += token.size();
      } else if (const std::string_view two = std::string_view(text).substr(i, 2);
                 two == "{{" || two == "}}") {
        words += text[i];
        i += 2;
      } else if (text[i] == '{') {
        close();
        const std::size_t end = text.find('}', i);
        const std::string name = end == std::string::npos ? "" : text.substr(i + 1, end - i - 1);
        const auto kind = placeholder_kinds().find(name);
        const bool fits = kind != placeholder_kinds().end() &&
                          (name == "bos" || name == "eos" || std::ranges::count(contents, name) > 0);
        require<DataError>(fits, origin_, ": '", text.substr(i, end == std::string::npos ? end : end - i + 1),
                           "' in \"", text, "\" is no placeholder for this field");
        pattern.push_back({kind->second, ""});
        i = end + 1;
      } else {
        words += text[i++];
      }
    }
    close();
    for (const std::string& name : contents) {
      const Kind kind = placeholder_kinds().at(name);
      const auto count =
          std::ranges::count_if(pattern, [&](const ChatPiece& piece) { return piece.kind == kind; });
      require<DataError>(text.empty() || count == 1, origin_, ": \"", text, "\" must hold {", name, "} once");
    }
    return pattern;
  }

 private:
  std::string token_at(const std::string& text, std::size_t at) const {
    std::string longest;
    for (const std::string& token : tokens_)
      if (text.compare(at, token.size(), token) == 0 && token.size() > longest.size()) longest = token;
    return longest;
  }

  const std::vector<std::string>& tokens_;
  std::string origin_;
};

std::string known_names(const Tokenizer& tokenizer) {
  return joined(fitting_chat_templates(tokenizer), ", ");
}

ChatTemplate parse_shipped(const ShippedChatTemplate& shipped) {
  return ChatTemplate::parse(shipped.json, "chat template " + shipped.name);
}

struct ForeignTemplate {
  std::string text, file;
};

// The Jinja template beside the tokenizer. Of several under their names, the one that is used by default.
std::optional<ForeignTemplate> jinja_beside(const Tokenizer& tokenizer) {
  const fs::path folder = fs::path(tokenizer.path()).parent_path();
  const fs::path alone = folder / "chat_template.jinja", config = folder / "tokenizer_config.json";
  if (fs::exists(alone)) return ForeignTemplate{read_file(alone), alone.string()};
  if (!fs::exists(config)) return std::nullopt;
  const Json json = read_json_file(config);
  const JsonFields fields(json, config.string());
  const Json& value = fields["chat_template"];
  if (value.is_string()) return ForeignTemplate{value.get<std::string>(), config.string()};
  if (!value.is_array()) return std::nullopt;
  for (const Json& each : value) {
    const JsonFields named(each, config.string() + ": chat_template");
    if (named.required_text("name") == "default")
      return ForeignTemplate{named.required_text("template"), config.string()};
  }
  return std::nullopt;
}

ChosenChatTemplate find_template(const Tokenizer& tokenizer) {
  const std::optional<ForeignTemplate> jinja = jinja_beside(tokenizer);
  for (const ShippedChatTemplate& shipped : shipped_chat_templates()) {
    ChatTemplate form = parse_shipped(shipped);
    if (form.known_by.empty() || !form.missing_tokens(tokenizer).empty()) continue;
    if (jinja && jinja->text.find(form.known_by) != std::string::npos)
      return {form, fmt::format("the chat template in {} has {}", jinja->file, form.known_by)};
    if (!jinja && !form.tokens.empty())
      return {form, fmt::format("{} has the token {}, and no chat template is beside it", tokenizer.path(),
                                form.known_by)};
  }
  throw ConfigurationError(fmt::format(
      "--chat-template auto: {}: name the one to train with, or a file of your own: its tokenizer fits {}",
      jinja ? fmt::format("the chat template in {} is none that Chorus knows", jinja->file)
            : fmt::format("neither a chat template beside {} nor a token in it tells how conversations are "
                          "written",
                          tokenizer.path()),
      known_names(tokenizer)));
}

ChatTemplate load_template(const std::string& name, const Tokenizer& tokenizer) {
  for (const ShippedChatTemplate& shipped : shipped_chat_templates())
    if (shipped.name == name) return parse_shipped(shipped);
  require<ConfigurationError>(fs::exists(name), "--chat-template ", name,
                              " is neither a file nor a chat template of this program; those for this "
                              "tokenizer are ",
                              known_names(tokenizer));
  return ChatTemplate::parse(read_text_file(name), name);
}

}  // namespace

ChatTemplate ChatTemplate::parse(const std::string& json, const std::string& origin) {
  const Json parsed = parse_json(json, origin);
  const JsonFields fields(
      parsed, origin,
      {"name", "description", "known_by", "tokens", "trim", "alternating", "begin", "system", "no_system",
       "no_system_with_input", "user", "user_with_input", "system_user", "assistant"});
  ChatTemplate form;
  form.json = json;
  form.name = fields.filled_text("name");
  form.description = fields.text("description").value_or("");
  form.known_by = fields.text("known_by").value_or("");
  if (fields.has("tokens")) form.tokens = parse_names(fields["tokens"], origin + ": tokens");
  form.trim = fields.boolean("trim").value_or(false);
  form.alternating = fields.boolean("alternating").value_or(false);
  const PatternParser parser(form.tokens, origin);
  const auto pattern = [&](const char* field, const std::vector<std::string>& contents) {
    return parser.parse(fields.text(field).value_or(""), contents);
  };
  form.begin = pattern("begin", {});
  form.system = pattern("system", {"content"});
  form.no_system = pattern("no_system", {});
  form.no_system_with_input = pattern("no_system_with_input", {});
  form.user = pattern("user", {"content"});
  form.user_with_input = pattern("user_with_input", {"content", "input"});
  form.system_user = pattern("system_user", {"content", "system"});
  require<DataError>(!form.user.empty(), origin, ": the field 'user' is missing");
  require<DataError>(form.system.empty() != form.system_user.empty(), origin,
                     ": a system prompt stands either by itself, 'system', or in the first user turn, "
                     "'system_user'");
  require<DataError>(
      form.system_user.empty() || form.alternating, origin,
      ": where the system prompt stands in the first user turn, a user must begin: 'alternating' "
      "must be true");
  const JsonFields assistant(fields.get("assistant"), origin + ": assistant", {"before", "answer", "after"});
  form.before_answer = parser.parse(assistant.text("before").value_or(""), {});
  form.answer = parser.parse(assistant.filled_text("answer"), {"content"});
  form.after_answer = parser.parse(assistant.text("after").value_or(""), {});
  const Kind end = form.answer.back().kind;
  require<DataError>(end == Kind::token || end == Kind::eos, origin,
                     ": 'answer' must end with {eos} or one of the tokens, at which generation stops");
  return form;
}

std::vector<std::string> ChatTemplate::missing_tokens(const Tokenizer& tokenizer) const {
  std::vector<std::string> missing;
  for (const std::string& token : tokens)
    if (!tokenizer.special(token)) missing.push_back(token);
  return missing;
}

void ChatTemplate::require_tokens(const Tokenizer& tokenizer, const std::string& origin) const {
  const std::vector<std::string> missing = missing_tokens(tokenizer);
  require<ConfigurationError>(missing.empty(), origin, ": ", tokenizer.path(), " has no token ",
                              joined(missing, ", "), "; it fits ", known_names(tokenizer));
}

std::vector<std::string> fitting_chat_templates(const Tokenizer& tokenizer) {
  std::vector<std::string> names;
  for (const ShippedChatTemplate& shipped : shipped_chat_templates())
    if (parse_shipped(shipped).missing_tokens(tokenizer).empty()) names.push_back(shipped.name);
  return names;
}

ChosenChatTemplate choose_chat_template(const std::string& name, const Tokenizer& tokenizer) {
  if (name == "auto") return find_template(tokenizer);
  ChatTemplate form = load_template(name, tokenizer);
  form.require_tokens(tokenizer, "--chat-template " + name);
  return {std::move(form), ""};
}

}  // namespace chorus
