#include "data/tokenizers/pre_tokenizer.h"

#include <algorithm>

#include "data/text/utf8.h"
#include "data/tokenizers/unicode.h"

namespace chorus {

namespace {

// Of GPT-2, which ByteLevel stands for where it is not told otherwise.
constexpr std::string_view gpt2_words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace

PreTokenizer::PreTokenizer(const nlohmann::json& json, const std::string& where) {
  // In the order of Behavior.
  static const std::vector<std::string> behaviors{"Isolated", "Removed", "MergedWithPrevious",
                                                  "MergedWithNext", "Contiguous"};
  for (const TokenizerPart& part : parts_of(json, where, "pretokenizers")) {
    if (part.type == "Split") {
      part.fields.required_text("behavior");
      const auto behavior = static_cast<Behavior>(part.fields.word("behavior", behaviors));
      steps_.emplace_back(Split{part.pattern(), behavior, part.flag("invert")});
    } else if (part.type == "ByteLevel") {
      ByteLevel step{part.flag("add_prefix_space", true), std::nullopt};
      if (part.flag("use_regex", true)) step.words.emplace(gpt2_words, part.fields.where());
      steps_.emplace_back(std::move(step));
    } else if (part.type == "Digits") {
      steps_.emplace_back(Digits{part.flag("individual_digits") ? Behavior::isolated : Behavior::contiguous});
    } else {
      refuse(part, "Split, ByteLevel, Digits and Sequence");
    }
  }
}

Pieces PreTokenizer::operator()(std::string_view text) const {
  Pieces pieces{std::string(text), {}};
  if (!text.empty()) pieces.ranges.push_back({0, text.size()});
  for (const auto& step : steps_) std::visit([&](const auto& kind) { apply(kind, pieces); }, step);
  return pieces;
}

// The matches, and what lies between them.
std::vector<PreTokenizer::Stretch> PreTokenizer::stretches(std::string_view text,
                                                           const std::vector<Range>& matches) {
  std::vector<Stretch> all;
  std::size_t end = 0;
  for (const Range& match : matches) {
    if (end != match.begin) all.push_back({{end, match.begin}, false});
    all.push_back({match, true});
    end = match.end;
  }
  if (end != text.size()) all.push_back({{end, text.size()}, false});
  return all;
}

void PreTokenizer::append(std::vector<Stretch> stretches, Behavior behavior, std::size_t begin,
                          std::vector<Range>& ranges) {
  const bool backwards = behavior == Behavior::merged_with_next;
  if (backwards) std::ranges::reverse(stretches);
  std::vector<Range> joined;
  bool before = false;  // whether the stretch before matches
  for (const auto& [range, matches] : stretches) {
    bool joins = false;
    if (behavior == Behavior::contiguous) joins = matches == before;
    if (behavior == Behavior::merged_with_previous || backwards) joins = matches && !before;
    before = matches;
    if (behavior == Behavior::removed && matches) continue;
    if (!joins || joined.empty()) {
      joined.push_back(range);
    } else if (backwards) {
      joined.back().begin = range.begin;
    } else {
      joined.back().end = range.end;
    }
  }
  if (backwards) std::ranges::reverse(joined);
  for (const Range& range : joined)
    if (!range.empty()) ranges.push_back({begin + range.begin, begin + range.end});
}

void PreTokenizer::apply(const Split& step, Pieces& pieces) const {
  std::vector<Range> cut, matches;
  cut.reserve(pieces.text.size() / 4);
  for (const Range& piece : pieces.ranges) {
    step.pattern.find_all(piece.of(pieces.text), matches);
    std::vector<Stretch> parts = stretches(piece.of(pieces.text), matches);
    if (step.invert)
      for (Stretch& part : parts) part.matches = !part.matches;
    append(std::move(parts), step.behavior, piece.begin, cut);
  }
  pieces.ranges = std::move(cut);
}

void PreTokenizer::apply(const ByteLevel& step, Pieces& pieces) const {
  Pieces written;
  written.text.reserve(pieces.text.size() + pieces.text.size() / 4);
  written.ranges.reserve(pieces.ranges.size());
  const auto write = [&](std::string_view bytes) {
    const std::size_t begin = written.text.size();
    alphabet_.append(written.text, bytes);
    if (!bytes.empty()) written.ranges.push_back({begin, written.text.size()});
  };
  std::vector<Range> matches;
  std::string prefixed;
  for (const Range& piece : pieces.ranges) {
    std::string_view text = piece.of(pieces.text);
    if (step.add_prefix_space && !text.starts_with(' ')) text = prefixed.assign(1, ' ').append(text);
    if (!step.words) {
      write(text);
      continue;
    }
    step.words->find_all(text, matches);
    for (const Stretch& stretch : stretches(text, matches)) write(stretch.range.of(text));
  }
  pieces = std::move(written);
}

void PreTokenizer::apply(const Digits& step, Pieces& pieces) const {
  std::vector<Range> cut, matches;
  for (const Range& piece : pieces.ranges) {
    const std::string_view text = piece.of(pieces.text);
    matches.clear();
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t end = i + character_length(text[i]);
      if (is_number(first_character(text.substr(i)))) matches.push_back({i, end});
      i = end;
    }
    append(stretches(text, matches), step.behavior, piece.begin, cut);
  }
  pieces.ranges = std::move(cut);
}

}  // namespace chorus
