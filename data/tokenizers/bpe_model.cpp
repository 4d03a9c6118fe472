#include "data/tokenizers/bpe_model.h"

#include <queue>

#include "data/text/utf8.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

constexpr std::size_t most_words_kept = 1 << 16, longest_word_kept = 128;
constexpr std::uint64_t most_tokens = 1 << 24;

std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

// Null or empty, as byte-level tokenizers have it.
void refuse_affix(const JsonFields& fields, std::string_view key) {
  require<DataError>(fields.text(key).value_or("").empty(), fields.where(), ": ", key, " ",
                     fields[key].dump(), " is not supported, only null or \"\"");
}

}  // namespace

BpeModel::BpeModel(const nlohmann::json& json, const std::string& where) : where_(where) {
  const JsonFields fields(json, where);
  // Older files do not name the type; of the others, none has merges.
  const std::string type = fields.text("type").value_or(fields.has("merges") ? "BPE" : "");
  require<DataError>(type == "BPE", where, ": the type ", type.empty() ? "is missing" : type,
                     type.empty() ? "; BPE is supported" : " is not supported; BPE is");
  require<DataError>(fields.number("dropout").value_or(0) == 0, where, ": dropout ", fields["dropout"].dump(),
                     " is not supported: the same text would have other tokens each time");
  refuse_affix(fields, "continuing_subword_prefix");
  refuse_affix(fields, "end_of_word_suffix");
  fuse_unk_ = fields.boolean("fuse_unk").value_or(false);
  byte_fallback_ = fields.boolean("byte_fallback").value_or(false);
  ignore_merges_ = fields.boolean("ignore_merges").value_or(false);
  read_vocabulary(fields.get("vocab"), where + ".vocab");
  read_merges(fields.get("merges"), where + ".merges");
  unk_token_ = fields.text("unk_token").value_or("");
  unk_ = id(unk_token_);
}

void BpeModel::read_vocabulary(const nlohmann::json& json, const std::string& where) {
  require<DataError>(json.is_object(), where, ": must be an object of tokens and their ids");
  ids_.reserve(json.size());
  std::vector<bool> seen(json.size());
  for (const auto& [token, value] : json.items()) {
    const std::uint64_t id = value.is_number_unsigned() ? value.get<std::uint64_t>() : most_tokens;
    if (id >= most_tokens) {
      throw DataError(fmt::format("{}: the id of '{}' is {}; ids are from 0 to {}", where, token,
                                  value.dump(), most_tokens - 1));
    }
    if (id >= seen.size()) seen.resize(id + 1);
    require<DataError>(!seen[id], where, ": '", token, "' and another token have the id ", id);
    seen[id] = true;
    ids_.emplace(token, static_cast<std::int32_t>(id));
  }
}

void BpeModel::read_merges(const nlohmann::json& json, const std::string& where) {
  require<DataError>(json.is_array(), where, ": must be a list");
  merges_.reserve(json.size());
  std::size_t rank = 0;
  for (const nlohmann::json& merge : json) {
    const bool is_pair =
        merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string();
    if (is_pair) {
      add_merge(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>(), rank++,
                where);
      continue;
    }
    const std::string_view line =
        merge.is_string() ? std::string_view(merge.get_ref<const std::string&>()) : "";
    if (line.starts_with("#version")) continue;
    const std::size_t space = line.find(' ');
    require<DataError>(space != std::string_view::npos && line.find(' ', space + 1) == std::string_view::npos,
                       where, ": the merge ", merge.dump(), R"( is neither "a b" nor ["a", "b"])");
    add_merge(line.substr(0, space), line.substr(space + 1), rank++, where);
  }
}

void BpeModel::add_merge(std::string_view left, std::string_view right, std::size_t rank,
                         const std::string& where) {
  const std::string together = std::string(left).append(right);
  const auto known = [&](std::string_view token) {
    const std::optional<std::int32_t> found = id(token);
    require<DataError>(found.has_value(), where, ": the merge of '", left, "' and '", right, "' needs '",
                       token, "', which is not in the vocabulary");
    return *found;
  };
  const std::int32_t left_id = known(left), right_id = known(right), id = known(together);
  // Of merges that stand there twice, the last one counts.
  merges_[pair_of(left_id, right_id)] = {static_cast<std::int32_t>(rank), id};
}

std::optional<std::int32_t> BpeModel::id(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

const BpeModel::Merge* BpeModel::merge_of(std::int32_t left, std::int32_t right) const {
  const auto found = merges_.find(pair_of(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

// The tokens <0x41> of a character's bytes, if all of them are there.
std::optional<std::vector<std::int32_t>> BpeModel::bytes_of(std::string_view character) const {
  std::vector<std::int32_t> bytes;
  for (const char byte : character) {
    const auto found = id(fmt::format("<0x{:02X}>", static_cast<unsigned char>(byte)));
    if (!found) return std::nullopt;
    bytes.push_back(*found);
  }
  return bytes;
}

std::vector<std::int32_t> BpeModel::characters_of(std::string_view word) const {
  std::vector<std::int32_t> ids;
  bool unknown = false;  // whether the token of unknown characters is to be written
  for (std::size_t i = 0; i < word.size();) {
    const std::string_view character = word.substr(i, character_length(word[i]));
    i += character.size();
    if (const auto known = id(character)) {
      if (unknown) ids.push_back(*unk_);
      unknown = false;
      ids.push_back(*known);
      continue;
    }
    if (byte_fallback_) {
      // Hugging Face's library writes an unknown character before them behind them; so do the models know it.
      if (const auto bytes = bytes_of(character)) {
        ids.insert(ids.end(), bytes->begin(), bytes->end());
        continue;
      }
    }
    if (unk_token_.empty()) continue;
    require<DataError>(unk_.has_value(), where_, ": the character '", character,
                       "' is not in the vocabulary, nor is unk_token '", unk_token_, "'");
    if (unknown && !fuse_unk_) ids.push_back(*unk_);
    unknown = true;
  }
  if (unknown) ids.push_back(*unk_);
  return ids;
}

// The pair of lowest rank is merged until there is none, the leftmost of several: a queue of all pairs, with those that are
// no longer there.
void BpeModel::merge(std::vector<std::int32_t>& ids) const {
  struct Symbol {
    std::int32_t id;
    std::ptrdiff_t before, after;  // its neighbours, -1: none
    bool gone;
  };
  struct Candidate {
    std::ptrdiff_t left;
    Merge merge;
    bool operator<(const Candidate& other) const {
      return merge.rank != other.merge.rank ? merge.rank > other.merge.rank : left > other.left;
    }
  };
  std::vector<Symbol> symbols;
  symbols.reserve(ids.size());
  const std::ptrdiff_t count = std::ssize(ids);
  for (std::ptrdiff_t i = 0; i < count; ++i)
    symbols.push_back({ids[static_cast<std::size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1, false});
  const auto at = [&](std::ptrdiff_t i) -> Symbol& { return symbols[static_cast<std::size_t>(i)]; };

  std::priority_queue<Candidate> queue;
  const auto consider = [&](std::ptrdiff_t left) {
    if (left < 0 || at(left).after < 0) return;
    if (const Merge* merge = merge_of(at(left).id, at(at(left).after).id)) queue.push({left, *merge});
  };
  for (std::ptrdiff_t i = 0; i < count; ++i) consider(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = at(best.left);
    if (left.gone || left.after < 0) continue;
    Symbol& right = at(left.after);
    const Merge* merge = merge_of(left.id, right.id);
    if (merge == nullptr || merge->id != best.merge.id) continue;  // another pair by now
    left.id = merge->id;
    left.after = right.after;
    right.gone = true;
    if (left.after >= 0) at(left.after).before = best.left;
    consider(left.before);
    consider(best.left);
  }
  ids.clear();
  for (const Symbol& symbol : symbols)
    if (!symbol.gone) ids.push_back(symbol.id);
}

void BpeModel::encode(std::string_view text, std::span<const Range> words,
                      std::vector<std::int32_t>& ids) const {
  const std::lock_guard lock(using_memory_);
  for (const Range& range : words) {
    const std::string_view word = range.of(text);
    const auto kept = memory_.runs.find(word);
    if (kept != memory_.runs.end()) {
      const auto begin = memory_.ids.begin() + static_cast<std::ptrdiff_t>(kept->second.begin);
      ids.insert(ids.end(), begin, begin + static_cast<std::ptrdiff_t>(kept->second.length));
      continue;
    }
    std::vector<std::int32_t> tokens;
    const auto whole = ignore_merges_ ? id(word) : std::nullopt;
    if (whole) {
      tokens.push_back(*whole);
    } else {
      tokens = characters_of(word);
      merge(tokens);
    }
    ids.insert(ids.end(), tokens.begin(), tokens.end());
    if (word.size() > longest_word_kept) continue;
    if (memory_.runs.size() >= most_words_kept) memory_ = {};
    memory_.runs.emplace(word, Memory::Run{memory_.ids.size(), tokens.size()});
    memory_.ids.insert(memory_.ids.end(), tokens.begin(), tokens.end());
  }
}

}  // namespace chorus
