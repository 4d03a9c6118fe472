#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace chorus {

// The character that stands for bytes that are no text, U+FFFD.
inline constexpr std::string_view replacement_character = "\xEF\xBF\xBD";

bool is_ascii(std::string_view text);

// The same text with one U+FFFD for each ill-formed part: the longest beginning of a well-formed sequence, or else a
// byte (the Unicode Standard, section 3.9). Zero bytes are characters.
std::string replace_ill_formed(std::string_view bytes);

// The number of bytes of the well-formed character that text, which is not empty, begins with; 0 if it begins with none.
std::size_t well_formed_length(std::string_view text);
// The number of bytes of the character that begins with this byte, in well-formed UTF-8.
std::size_t character_length(char first);
// The character that well-formed UTF-8, which is not empty, begins with.
char32_t first_character(std::string_view text);
// The bytes of the last one.
std::string_view last_character(std::string_view text);
void append_character(std::string& text, char32_t character);

}  // namespace chorus
