#include "core/scoring/label_match.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "data/text/text.h"
#include "ops/base/error.h"

namespace chorus {
namespace {

using Characters = std::u32string;

// The code points of UTF-8. A byte that is not UTF-8 is a character of its own, above all that there are.
Characters characters(std::string_view text) {
  constexpr char32_t beyond = 0x110000;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  Characters out;
  for (std::size_t i = 0; i < text.size();) {
    const unsigned lead = byte(i);
    const std::size_t more = lead < 0x80 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    char32_t value = more == 0 ? lead : lead & (0x3FU >> more);
    std::size_t end = i + 1;
    for (; end < text.size() && end <= i + more && (byte(end) & 0xC0U) == 0x80U; ++end)
      value = (value << 6U) | (byte(end) & 0x3FU);
    const bool whole = end == i + 1 + more && (lead < 0x80 || (0xC0 <= lead && lead < 0xF8));
    out += whole ? value : beyond + lead;
    i = whole ? end : i + 1;
  }
  return out;
}

// Upper case to lower case, one character to one: the simple mappings of Unicode for what Latin, Greek and Cyrillic
// texts are written with.
char32_t lower(char32_t c) {
  const auto within = [&](char32_t first, char32_t last) { return first <= c && c <= last; };
  if (within('A', 'Z') || (within(0xC0, 0xDE) && c != 0xD7) || within(0x391, 0x3A9) || within(0x410, 0x42F))
    return c + 32;
  if (within(0x139, 0x148) || within(0x179, 0x17E)) return c + c % 2;
  if (c == 0x130) return 'i';
  if (c == 0x178) return 0xFF;
  if (within(0x100, 0x137) || within(0x14A, 0x177) || within(0x460, 0x481) || within(0x48A, 0x4BF) ||
      within(0x4D0, 0x52F) || within(0x1E00, 0x1E95) || within(0x1EA0, 0x1EFF))
    return c | 1U;
  if (c == 0x386) return 0x3AC;
  if (within(0x388, 0x38A)) return c + 37;
  if (c == 0x38C) return 0x3CC;
  if (within(0x38E, 0x38F)) return c + 63;
  return within(0x400, 0x40F) ? c + 80 : c;
}

Characters lower_case(Characters text) {
  std::ranges::transform(text, text.begin(), lower);
  return text;
}

// Letters and digits of scripts that put blanks between words: not those of Chinese, Japanese, Korean (whose endings
// are not set apart), Thai, Lao, Tibetan, Burmese and Khmer.
bool belongs_to_word(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || c == '_';
  const bool without_blanks =
      (c >= 0xE00 && c < 0x10A0) || (c >= 0x1100 && c < 0x1200) || (c >= 0x1780 && c < 0x1800);
  return c >= 0xC0 && c < 0x2000 && c != 0xD7 && c != 0xF7 && !without_blanks;
}

bool is_border(const Characters& text, std::size_t i) {
  return i == 0 || i >= text.size() || !belongs_to_word(text[i - 1]) || !belongs_to_word(text[i]);
}

LabelMatch match(std::size_t index, bool found) { return {static_cast<std::int32_t>(index), found}; }

// The label that stands in the answer first, the longest of several at one place; labels.size() for none.
template <typename StandsAt>  // (start, label) -> bool
std::size_t first_label(const Characters& answer, const std::vector<Characters>& labels,
                        const StandsAt& stands_at) {
  std::size_t best = labels.size();
  for (std::size_t start = 0; start < answer.size() && best == labels.size(); ++start) {
    std::pair<std::size_t, bool> most{0, false};  // characters, and whether they are the same in case too
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const std::pair here{labels[i].size(), answer.compare(start, labels[i].size(), labels[i]) == 0};
      if (here <= most || !stands_at(start, i)) continue;
      best = i;
      most = here;
    }
  }
  return best;
}

LabelMatch match_as_instructerc(const Characters& answer, const std::vector<Characters>& labels) {
  const std::size_t first = first_label(answer, labels, [&](std::size_t start, std::size_t i) {
    return answer.compare(start, labels[i].size(), labels[i]) == 0;
  });
  if (first < labels.size()) return match(first, true);
  const auto distance = [&](const Characters& label) { return edit_distance(answer, label); };
  return match(static_cast<std::size_t>(std::ranges::min_element(labels, {}, distance) - labels.begin()),
               false);
}

// The answer without what surrounds its words, such as quotes and a full stop.
Characters bare(const Characters& text) {
  const auto first = std::ranges::find_if(text, belongs_to_word);
  const auto last = std::find_if(text.rbegin(), text.rend(), belongs_to_word).base();
  return first < last ? Characters(first, last) : Characters();
}

LabelMatch misspelt_label(const Characters& answer, const std::vector<Characters>& labels) {
  constexpr std::size_t characters_per_edit = 4;
  std::size_t best = labels.size(), fewest = answer.size() + 1, times = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i].empty()) continue;
    const auto edits = static_cast<std::size_t>(edit_distance(answer, labels[i]));
    if (edits < fewest) {
      best = i;
      fewest = edits;
      times = 0;
    }
    if (edits == fewest) ++times;
  }
  const bool is_it = times == 1 && !answer.empty() && answer[0] == labels[best][0] &&
                     fewest * characters_per_edit <= labels[best].size();
  return is_it ? match(best, false) : LabelMatch{no_label, false};
}

LabelMatch match_by_words(const Characters& written, const std::vector<Characters>& labels) {
  const Characters answer = lower_case(written);
  std::vector<Characters> lowered;
  for (const Characters& label : labels) lowered.push_back(lower_case(label));
  const std::size_t first = first_label(written, labels, [&](std::size_t start, std::size_t i) {
    const std::size_t end = start + lowered[i].size();
    return answer.compare(start, lowered[i].size(), lowered[i]) == 0 && is_border(answer, start) &&
           is_border(answer, end);
  });
  return first < labels.size() ? match(first, true) : misspelt_label(bare(answer), lowered);
}

}  // namespace

LabelMatch match_label(std::string_view answer, std::span<const std::string> labels, MatchRule rule) {
  require(!labels.empty(), "an answer is matched against no labels");
  std::vector<Characters> wanted;
  for (const std::string& label : labels) wanted.push_back(characters(label));
  const auto way = rule == MatchRule::words ? match_by_words : match_as_instructerc;
  return way(characters(answer), wanted);
}

}  // namespace chorus
