#include "data/corpora/windows_1252.h"

#include <array>
#include <string_view>

namespace chorus {

namespace {

// Windows-1252 for the bytes 0x80 to 0x9F, as UTF-8; empty where it defines nothing.
constexpr std::array<std::string_view, 32> windows_1252{"€", "",  "‚", "ƒ", "„", "…", "†", "‡", "ˆ", "‰", "Š",
                                                        "‹", "Œ", "",  "Ž", "",  "",  "‘", "’", "“", "”", "•",
                                                        "–", "—", "˜", "™", "š", "›", "œ", "",  "ž", "Ÿ"};

}  // namespace

std::int64_t normalise_windows_1252(std::string& text) {
  std::int64_t replaced = 0;
  for (std::size_t i = 0; (i = text.find('\xC2', i)) != std::string::npos && i + 1 < text.size();) {
    const unsigned point =
        static_cast<unsigned char>(text[i + 1]);  // U+0080 to U+00BF are 0xC2 and the point itself
    const std::string_view meant = point == 0xA0 ? " " : point < 0xA0 ? windows_1252[point - 0x80] : "";
    if (meant.empty()) {
      i += 2;
      continue;
    }
    text.replace(i, 2, meant);
    i += meant.size();
    ++replaced;
  }
  return replaced;
}

}  // namespace chorus
