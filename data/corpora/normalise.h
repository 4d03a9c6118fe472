#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "data/corpora/dialogue.h"

namespace chorus {

// Replaces U+0080..U+009F by what Windows-1252 means by these bytes, and U+00A0 by a space. Returns how many.
// Older copies of Friends' transcripts hold such controls where apostrophes and quotes belong.
std::int64_t normalise_windows_1252(std::string& text);

// Makes one space of every run of white space that holds a line break, and nothing of those at the ends: a line of a
// prompt is what one speaker says. Returns how many characters that replaced.
std::int64_t normalise_line_breaks(std::string& text);

// Both. Returns how many characters they replaced.
std::int64_t normalise(std::string& text);
// The same of text, speaker and side texts.
std::int64_t normalise(Utterance& utterance);

// Whether it looks like UTF-8 that was read as Windows-1252: "â€™" for an apostrophe, "Ã©" for é.
bool looks_misread(std::string_view text);

}  // namespace chorus
