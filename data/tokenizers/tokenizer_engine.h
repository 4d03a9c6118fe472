#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace chorus {

// What Tokenizer (data/prompts/tokenizer.h) asks of each kind of tokenizer. May be used by several threads.
class TokenizerEngine {
 public:
  TokenizerEngine() = default;
  TokenizerEngine(const TokenizerEngine&) = delete;
  TokenizerEngine& operator=(const TokenizerEngine&) = delete;
  virtual ~TokenizerEngine() = default;

  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  // The same, with no special token found in the text.
  virtual std::vector<std::int32_t> encode_as_text(std::string_view text) const = 0;
  // All ids are below size().
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
  virtual std::string token(std::int32_t id) const = 0;
  // The id of a token that stands beside those of words; none where there is no such.
  virtual std::optional<std::int32_t> special(std::string_view token) const = 0;
  // What stands around a text.
  virtual std::vector<std::int32_t> before() const = 0;
  virtual std::vector<std::int32_t> behind() const = 0;

  virtual std::int32_t size() const = 0;  // ids are below it
  virtual std::optional<std::int32_t> bos() const = 0;
  virtual std::int32_t eos() const = 0;
  virtual std::optional<std::int32_t> unk() const = 0;
};

}  // namespace chorus
