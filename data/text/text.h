#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace chorus {

// Insertions, deletions and substitutions of bytes that turn `a` into `b` (Levenshtein 1966).
std::int64_t edit_distance(std::string_view a, std::string_view b);
// The same of characters.
std::int64_t edit_distance(std::u32string_view a, std::u32string_view b);

// Characters of UTF-8, which is how wide most texts are.
std::size_t character_count(std::string_view text);

// The element of `known` with the smallest edit distance to `word`, the first of several; "" if there is
// none.
std::string nearest(std::string_view word, std::span<const std::string> known);

// The words with `separator` between them.
std::string joined(std::span<const std::string> words, std::string_view separator);

// White space: blanks, tabs, CR and LF.
bool is_blank(std::string_view text);
std::string_view trimmed(std::string_view text);

// ASCII letters small, all else as it is.
std::string lower_case(std::string_view text);

// A decimal number and nothing else.
std::optional<double> parse_real(std::string_view text);

// The words in lower case: runs of letters, digits and apostrophes; what is not ASCII counts as letters.
std::vector<std::string> words_of(std::string_view text);

// The lines without their line breaks (LF or CR LF); none for what follows the last break if it is empty.
std::vector<std::string> split_lines(const std::string& text);

// A piece of a text and the number of the line that it begins in, from 1.
struct NumberedView {
  std::int64_t number = 0;
  std::string_view text;
};
// The lines of a text one after another, without copies and without their line breaks, as split_lines() has them.
class LineScanner {
 public:
  explicit LineScanner(std::string_view text) : rest_(text) {}
  std::optional<NumberedView> next();
  // The next one that is not blank.
  std::optional<NumberedView> next_filled();

 private:
  std::string_view rest_;
  std::int64_t number_ = 0;
};

// A line and its number, from 1.
struct NumberedLine {
  std::int64_t number = 0;
  std::string text;
};
// The lines of split_lines() that are not blank: those of JSON lines that say something.
std::vector<NumberedLine> filled_lines(const std::string& text);

// `text` with each {name} replaced by its value; {{ and }} stand for braces. Throws DataError for other
// braces or names, beginning with `origin`.
std::string fill_in(const std::string& text, const std::map<std::string, std::string>& values,
                    const std::string& origin);

}  // namespace chorus
