#include "data/tokenizers/token_decoder.h"

#include <charconv>
#include <optional>

#include "data/text/utf8.h"
#include "data/tokenizers/normalizer.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

std::string joined_tokens(const std::vector<std::string>& tokens, const std::string& separator) {
  std::string text;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) text += separator;
    text += tokens[i];
  }
  return text;
}

// Of a token <0x41>.
std::optional<char> byte_of(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) return std::nullopt;
  unsigned byte = 0;
  const char *begin = token.data() + 3, *end = begin + 2;
  if (std::from_chars(begin, end, byte, 16).ptr != end) return std::nullopt;
  return static_cast<char>(byte);
}

}  // namespace

TokenDecoder::TokenDecoder(const nlohmann::json& json, const std::string& where)
    : separator_(json.is_null() ? " " : "") {
  for (const TokenizerPart& part : parts_of(json, where, "decoders")) {
    const JsonFields& fields = part.fields;
    if (part.type == "ByteLevel") {
      steps_.emplace_back(ByteLevel{});
    } else if (part.type == "ByteFallback") {
      steps_.emplace_back(ByteFallback{});
    } else if (part.type == "Fuse") {
      steps_.emplace_back(Fuse{});
    } else if (part.type == "Replace") {
      steps_.emplace_back(Replace{part.pattern(), fields.required_text("content")});
    } else if (part.type == "Strip") {
      const Strip step{fields.filled_text("content"), fields.required_integer("start"),
                       fields.required_integer("stop")};
      require<DataError>(step.content.size() == character_length(step.content[0]), fields.where(),
                         ": content '", step.content, "' must be one character");
      steps_.emplace_back(step);
    } else {
      refuse(part, "ByteLevel, ByteFallback, Fuse, Replace, Strip and Sequence");
    }
  }
}

std::string TokenDecoder::operator()(std::vector<std::string> tokens) const {
  for (const auto& step : steps_) {
    tokens = std::visit([&](const auto& kind) { return apply(kind, std::move(tokens)); }, step);
  }
  return joined_tokens(tokens, separator_);
}

TokenDecoder::Tokens TokenDecoder::apply(const ByteLevel&, Tokens tokens) const {
  std::string bytes;
  for (const std::string& token : tokens) {
    const std::size_t begin = bytes.size();
    for (std::size_t i = 0; i < token.size(); i += character_length(token[i])) {
      const auto byte = alphabet_.byte_of(first_character(std::string_view(token).substr(i)));
      if (!byte) {  // not of this alphabet, an added token: as it is
        bytes.resize(begin);
        bytes += token;
        break;
      }
      bytes += static_cast<char>(*byte);
    }
  }
  return {replace_ill_formed(bytes)};
}

// Bytes that follow each other are one text, or none of them is.
TokenDecoder::Tokens TokenDecoder::apply(const ByteFallback&, Tokens tokens) const {
  Tokens result;
  std::string bytes;
  const auto close = [&] {
    if (bytes.empty()) return;
    if (replace_ill_formed(bytes) == bytes) {
      result.push_back(bytes);
    } else {
      result.insert(result.end(), bytes.size(), std::string(replacement_character));
    }
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const auto byte = byte_of(token)) {
      bytes += *byte;
    } else {
      close();
      result.push_back(std::move(token));
    }
  }
  close();
  return result;
}

TokenDecoder::Tokens TokenDecoder::apply(const Fuse&, Tokens tokens) const {
  return {joined_tokens(tokens, "")};
}

TokenDecoder::Tokens TokenDecoder::apply(const Replace& step, Tokens tokens) const {
  for (std::string& token : tokens) token = replace_matches(step.pattern, step.content, token);
  return tokens;
}

TokenDecoder::Tokens TokenDecoder::apply(const Strip& step, Tokens tokens) const {
  for (std::string& token : tokens) {
    std::string_view rest = token;
    for (std::int64_t i = 0; i < step.start && rest.starts_with(step.content); ++i)
      rest.remove_prefix(step.content.size());
    for (std::int64_t i = 0; i < step.stop && rest.ends_with(step.content); ++i)
      rest.remove_suffix(step.content.size());
    token = std::string(rest);
  }
  return tokens;
}

}  // namespace chorus
