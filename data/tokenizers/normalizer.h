#pragma once

#include <string>
#include <variant>
#include <vector>

#include "data/tokenizers/tokenizer_part.h"

namespace chorus {

// What becomes of a text before it is cut: the "normalizer" of a tokenizer.json.
class Normalizer {
 public:
  // Throws DataError for a part that is not supported.
  Normalizer(const nlohmann::json& json, const std::string& where);

  bool does_nothing() const { return steps_.empty(); }
  std::string operator()(std::string text) const;

 private:
  struct FormC {};
  struct Prepend {
    std::string beginning;
  };
  struct Replace {
    RegularExpression pattern;
    std::string content;
  };
  std::string apply(const FormC& step, std::string text) const;
  std::string apply(const Prepend& step, std::string text) const;
  std::string apply(const Replace& step, std::string text) const;

  std::vector<std::variant<FormC, Prepend, Replace>> steps_;
};

// The text with `content` in place of each match.
std::string replace_matches(const RegularExpression& pattern, const std::string& content,
                            const std::string& text);

}  // namespace chorus
