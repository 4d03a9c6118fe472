#pragma once

#include <cstdint>
#include <string>

namespace chorus {

// Replaces U+0080..U+009F by what Windows-1252 means by these bytes, and U+00A0 by a space. Returns how many.
// Older copies of Friends' transcripts hold such controls where apostrophes and quotes belong.
std::int64_t normalise_windows_1252(std::string& text);

}  // namespace chorus
