#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace chorus {

// Byte-level tokenizers write each byte as a character that can be seen: printable ones of Latin-1 as they are, the other
// 68 as U+0100 and on, so that a space is U+0120 (Radford et al. 2019, GPT-2).
class ByteAlphabet {
 public:
  ByteAlphabet();

  void append(std::string& text, std::string_view bytes) const;
  std::optional<std::uint8_t> byte_of(char32_t character) const;

 private:
  static constexpr std::size_t characters = 256 + 68;

  std::array<std::string, 256> character_of_;
  std::array<std::int16_t, characters> byte_of_;  // -1: none
};

}  // namespace chorus
