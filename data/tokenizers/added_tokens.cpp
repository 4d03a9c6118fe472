#include "data/tokenizers/added_tokens.h"

#include <algorithm>

#include "data/text/utf8.h"
#include "data/tokenizers/unicode.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

std::size_t without_space_behind(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    const std::string_view last = last_character(text.substr(0, end));
    if (!is_white_space(first_character(last))) break;
    end -= last.size();
  }
  return end;
}

std::size_t space_before(std::string_view text) {
  std::size_t end = 0;
  while (end < text.size() && is_white_space(first_character(text.substr(end))))
    end += character_length(text[end]);
  return end;
}

}  // namespace

AddedTokens::AddedTokens(const nlohmann::json& json, const BpeModel& model, const Normalizer& normalizer,
                         const std::string& where)
    : as_it_is_(where), normalized_(where) {
  if (json.is_null()) return;
  require<DataError>(json.is_array(), where, ": must be a list");
  auto next = static_cast<std::int32_t>(model.vocabulary().size());
  for (std::size_t i = 0; i < json.size(); ++i) {
    const JsonFields fields(json[i], fmt::format("{}[{}]", where, i));
    const auto flag = [&](const char* key) { return fields.boolean(key).value_or(false); };
    Token token;
    token.content = fields.required_text("content");
    if (token.content.empty()) continue;
    token.single_word = flag("single_word");
    token.lstrip = flag("lstrip");
    token.rstrip = flag("rstrip");
    token.special = flag("special");
    token.normalized = fields.boolean("normalized").value_or(!token.special);
    auto id = model.id(token.content);
    if (const auto known = ids_.find(token.content); known != ids_.end()) id = known->second;
    token.id = id ? *id : next++;
    const std::int64_t said = fields.required_integer("id");
    require<DataError>(said == token.id, fields.where(), ": '", token.content, "' has the id ", said,
                       ", but would be given ", token.id,
                       id ? ", which it has already" : ", the first that is free");
    token.text = token.normalized ? normalizer(token.content) : token.content;
    ids_[token.content] = token.id;
    tokens_[token.id] = std::move(token);
  }
  for (const auto& [id, token] : tokens_) {
    require<DataError>(!token.text.empty(), where, ": '", token.content, "' is normalized to nothing");
    const bool is_new = (token.normalized ? normalized_ : as_it_is_).add(token.text, token);
    require<DataError>(is_new, where, ": '", token.text, "' is what two tokens are normalized to");
  }
}

std::optional<std::int32_t> AddedTokens::id(std::string_view content) const {
  const auto found = ids_.find(content);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

// A word's characters as Rust's regular expressions have them (UTS #18, annex C).
AddedTokens::Finder::Finder(const std::string& where)
    : word_character_(R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200C}\x{200D}])", where) {}

bool AddedTokens::Finder::add(std::string_view text, const Token& token) {
  begins_[static_cast<unsigned char>(text[0])] = true;
  std::size_t node = 0;
  for (const char byte : text) {
    const auto [next, is_new] = nodes_[node].next.try_emplace(byte, nodes_.size());
    node = next->second;
    if (is_new) nodes_.emplace_back();
  }
  return std::exchange(nodes_[node].token, &token) == nullptr;
}

std::optional<AddedTokens::Stretch> AddedTokens::Finder::next_match(std::string_view text, std::size_t from,
                                                                    Which which) const {
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    if (!begins_[static_cast<unsigned char>(text[begin])]) continue;
    std::optional<Stretch> longest;
    std::size_t node = 0;
    for (std::size_t i = begin; i < text.size(); ++i) {
      const auto next = nodes_[node].next.find(text[i]);
      if (next == nodes_[node].next.end()) break;
      node = next->second;
      const Token* token = nodes_[node].token;
      if (token != nullptr && (which == Which::all || !token->special))
        longest = Stretch{{begin, i + 1}, token};
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

bool AddedTokens::Finder::is_word(std::string_view character) const {
  std::vector<Range> matches;
  word_character_.find_all(character, matches);
  return !matches.empty();
}

bool AddedTokens::Finder::stands_alone(std::string_view text, const Range& range) const {
  if (range.begin > 0 && is_word(last_character(text.substr(0, range.begin)))) return false;
  if (range.end == text.size()) return true;
  return !is_word(text.substr(range.end, character_length(text[range.end])));
}

std::vector<AddedTokens::Stretch> AddedTokens::Finder::find(std::string_view text, Which which) const {
  std::vector<Stretch> stretches;
  std::size_t end = 0;  // of the stretches so far
  for (auto match = next_match(text, 0, which); match; match = next_match(text, match->range.end, which)) {
    Range range = match->range;
    const Token& token = *match->token;
    if (token.single_word && !stands_alone(text, range)) continue;
    if (token.lstrip) range.begin = std::max(without_space_behind(text.substr(0, range.begin)), end);
    if (token.rstrip) range.end += space_before(text.substr(range.end));
    if (end < range.begin) stretches.push_back({{end, range.begin}});
    // Of a token of white space nothing remains where the one before took it.
    if (range.begin < range.end) stretches.push_back({range, &token});
    end = range.end;
  }
  if (end != text.size()) stretches.push_back({{end, text.size()}});
  return stretches;
}

}  // namespace chorus
