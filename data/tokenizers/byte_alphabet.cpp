#include "data/tokenizers/byte_alphabet.h"

#include "data/text/utf8.h"

namespace chorus {

ByteAlphabet::ByteAlphabet() {
  byte_of_.fill(-1);
  char32_t next = 256;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    const char32_t character = printable ? byte : next++;
    append_character(character_of_[byte], character);
    byte_of_[character] = static_cast<std::int16_t>(byte);
  }
}

void ByteAlphabet::append(std::string& text, std::string_view bytes) const {
  for (const char byte : bytes) {
    if (byte > ' ' && byte < '\x7F') {
      text += byte;
    } else {
      text += character_of_[static_cast<unsigned char>(byte)];
    }
  }
}

std::optional<std::uint8_t> ByteAlphabet::byte_of(char32_t character) const {
  if (character >= characters || byte_of_[character] < 0) return std::nullopt;
  return static_cast<std::uint8_t>(byte_of_[character]);
}

}  // namespace chorus
