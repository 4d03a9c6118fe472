#include "data/text/text.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "ops/base/error.h"

namespace chorus {

namespace {

constexpr std::string_view white_space = " \t\r\n";

template <typename Text>
std::int64_t distance_of(Text a, Text b) {
  std::vector<std::int64_t> row(b.size() + 1);  // distances of a prefix of `a` to every prefix of `b`
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::int64_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::int64_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::int64_t edit_distance(std::string_view a, std::string_view b) { return distance_of(a, b); }
std::int64_t edit_distance(std::u32string_view a, std::u32string_view b) { return distance_of(a, b); }

std::size_t character_count(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string nearest(std::string_view word, std::span<const std::string> known) {
  std::string best;
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (const std::string& candidate : known) {
    const std::int64_t distance = edit_distance(word, candidate);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

std::string joined(std::span<const std::string> words, std::string_view separator) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += separator;
    text += words[i];
  }
  return text;
}

bool is_blank(std::string_view text) { return text.find_first_not_of(white_space) == std::string_view::npos; }

std::string_view trimmed(std::string_view text) {
  if (is_blank(text)) return {};
  const std::size_t begin = text.find_first_not_of(white_space);
  return text.substr(begin, text.find_last_not_of(white_space) - begin + 1);
}

std::optional<double> parse_real(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '\'' || byte >= 0x80) {
      words.back() += static_cast<char>(std::tolower(byte));
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

std::optional<NumberedView> LineScanner::next() {
  if (rest_.empty()) return std::nullopt;
  const std::size_t end = std::min(rest_.find('\n'), rest_.size());
  std::string_view line = rest_.substr(0, end);
  rest_.remove_prefix(std::min(end + 1, rest_.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return NumberedView{++number_, line};
}

std::optional<NumberedView> LineScanner::next_filled() {
  std::optional<NumberedView> line = next();
  while (line && is_blank(line->text)) line = next();
  return line;
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  LineScanner scanner(text);
  while (const auto line = scanner.next()) lines.emplace_back(line->text);
  return lines;
}

std::vector<NumberedLine> filled_lines(const std::string& text) {
  std::vector<NumberedLine> filled;
  LineScanner scanner(text);
  while (const auto line = scanner.next_filled()) filled.push_back({line->number, std::string(line->text)});
  return filled;
}

std::string fill_in(const std::string& text, const std::map<std::string, std::string>& values,
                    const std::string& origin) {
  std::string filled;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '{' && c != '}') {
      filled += c;
      continue;
    }
    if (i + 1 < text.size() && text[i + 1] == c) {
      filled += c;
      ++i;
      continue;
    }
    const std::size_t end = text.find('}', i);
    require<DataError>(c == '{' && end != std::string::npos, origin, ": a single '", c,
                       "' in the text; write it twice if it is meant");
    const std::string name = text.substr(i + 1, end - i - 1);
    const auto value = values.find(name);
    if (value == values.end()) {
      std::vector<std::string> known;
      for (const auto& entry : values) known.push_back("{" + entry.first + "}");
      throw DataError(
          fmt::format("{}: unknown placeholder {{{}}}; here can stand {}", origin, name, joined(known, " ")));
    }
    filled += value->second;
    i = end;
  }
  return filled;
}

}  // namespace chorus
