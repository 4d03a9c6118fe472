#pragma once

#include <string>
#include <variant>
#include <vector>

#include "data/tokenizers/byte_alphabet.h"
#include "data/tokenizers/tokenizer_part.h"

namespace chorus {

// How tokens become a text again: the "decoder" of a tokenizer.json.
class TokenDecoder {
 public:
  // Throws DataError for a part that is not supported.
  TokenDecoder(const nlohmann::json& json, const std::string& where);

  // Always well-formed UTF-8: bytes that are no character become U+FFFD.
  std::string operator()(std::vector<std::string> tokens) const;

 private:
  struct ByteLevel {};
  struct ByteFallback {};
  struct Fuse {};
  struct Replace {
    RegularExpression pattern;
    std::string content;
  };
  struct Strip {
    std::string content;               // one character
    std::int64_t start = 0, stop = 0;  // how many of it at most
  };
  using Tokens = std::vector<std::string>;
  Tokens apply(const ByteLevel& step, Tokens tokens) const;
  Tokens apply(const ByteFallback& step, Tokens tokens) const;
  Tokens apply(const Fuse& step, Tokens tokens) const;
  Tokens apply(const Replace& step, Tokens tokens) const;
  Tokens apply(const Strip& step, Tokens tokens) const;

  ByteAlphabet alphabet_;
  std::string separator_;
  std::vector<std::variant<ByteLevel, ByteFallback, Fuse, Replace, Strip>> steps_;
};

}  // namespace chorus
