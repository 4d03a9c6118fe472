#include "data/corpora/normalise.h"

#include <algorithm>
#include <array>
#include <utility>

namespace chorus {

namespace {

// Windows-1252 for the bytes 0x80 to 0x9F, as UTF-8; empty where it defines nothing.
constexpr std::array<std::string_view, 32> windows_1252{"€", "",  "‚", "ƒ", "„", "…", "†", "‡", "ˆ", "‰", "Š",
                                                        "‹", "Œ", "",  "Ž", "",  "",  "‘", "’", "“", "”", "•",
                                                        "–", "—", "˜", "™", "š", "›", "œ", "",  "ž", "Ÿ"};

struct WhiteSpace {
  std::string_view character;
  bool breaks_line = false;
};
constexpr std::array white_spaces{WhiteSpace{" "},
                                  WhiteSpace{"\t"},
                                  WhiteSpace{"\n", true},
                                  WhiteSpace{"\v", true},
                                  WhiteSpace{"\f", true},
                                  WhiteSpace{"\r", true},
                                  WhiteSpace{"\xE2\x80\xA8", true},   // U+2028, line separator
                                  WhiteSpace{"\xE2\x80\xA9", true}};  // U+2029, paragraph separator

struct Run {
  std::size_t bytes = 0;
  std::int64_t characters = 0;
  bool breaks_line = false;
};

// The white space that `text` begins with.
Run white_space_of(std::string_view text) {
  Run run;
  while (true) {
    const auto* found = std::find_if(white_spaces.begin(), white_spaces.end(), [&](const WhiteSpace& space) {
      return text.substr(run.bytes).starts_with(space.character);
    });
    if (found == white_spaces.end()) return run;
    run.bytes += found->character.size();
    ++run.characters;
    run.breaks_line = run.breaks_line || found->breaks_line;
  }
}

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

std::int64_t normalise_line_breaks(std::string& text) {
  std::int64_t replaced = 0;
  std::string normalised;
  for (std::size_t i = 0; i < text.size();) {
    const Run run = white_space_of(std::string_view(text).substr(i));
    if (run.breaks_line) {
      if (i > 0 && i + run.bytes < text.size()) normalised += ' ';
      replaced += run.characters;
    } else {
      normalised += text.substr(i, std::max<std::size_t>(run.bytes, 1));
    }
    i += std::max<std::size_t>(run.bytes, 1);
  }
  if (replaced > 0) text = std::move(normalised);
  return replaced;
}

std::int64_t normalise(std::string& text) {
  return normalise_windows_1252(text) + normalise_line_breaks(text);
}

std::int64_t normalise(Utterance& utterance) {
  std::int64_t replaced = normalise(utterance.text) + normalise(utterance.speaker);
  for (SideText& side : utterance.side) {
    std::string text = *side.text;
    const std::int64_t in_text = normalise(text);
    if (in_text == 0) continue;
    side.text = std::make_shared<const std::string>(std::move(text));
    replaced += in_text;
  }
  return replaced;
}

bool looks_misread(std::string_view text) {
  return text.find("\xC3\xA2\xE2\x82\xAC") != std::string_view::npos ||  // â€
         text.find("\xC3\x83\xC2") != std::string_view::npos;            // Ã and a character up to U+00BF
}

}  // namespace chorus
