#include "data/tokenizers/unicode.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>

#include <utf8proc.h>

#include "data/text/utf8.h"
#include "data/tokenizers/unicode_versions.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

// The last range of a sorted table that may hold the character; null: none.
template <typename Ranges>
auto range_of(const Ranges& ranges, char32_t character) -> decltype(ranges.data()) {
  const auto after =
      std::ranges::upper_bound(ranges, character, {}, [](const auto& range) { return range.first; });
  if (after == ranges.begin() || character > std::prev(after)->last) return nullptr;
  return &*std::prev(after);
}

void append_form_c(std::string& result, std::string_view text) {
  if (is_ascii(text)) {
    result += text;
    return;
  }
  utf8proc_uint8_t* normalized = nullptr;
  const utf8proc_ssize_t length = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
      &normalized, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  require<DataError>(length >= 0, "a text of ", text.size(),
                     " bytes has no Normalization Form C: ", utf8proc_errmsg(length));
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owned(normalized, std::free);
  result.append(reinterpret_cast<const char*>(normalized), static_cast<std::size_t>(length));
}

}  // namespace

// A character that is not known has combining class 0 and no part in compositions, so that texts before and behind it are
// normalized by themselves.
std::string normalization_form_c(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t end = i + character_length(text[i]);
    if (end - i > 1 && range_of(normalized_since_unicode_10, first_character(text.substr(i))) != nullptr) {
      append_form_c(result, text.substr(begin, i - begin));
      result += text.substr(i, end - i);
      begin = end;
    }
    i = end;
  }
  append_form_c(result, text.substr(begin));
  return result;
}

std::string_view general_category(char32_t character) {
  const CategoryRange* newer = range_of(newer_categories, character);
  return newer != nullptr ? newer->category
                          : utf8proc_category_string(static_cast<utf8proc_int32_t>(character));
}

bool is_number(char32_t character) { return general_category(character).starts_with('N'); }

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

}  // namespace chorus
