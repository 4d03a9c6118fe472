#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizers/bpe_model.h"
#include "data/tokenizers/normalizer.h"

namespace chorus {

// Tokens beside those of the model, such as <|endoftext|>: the "added_tokens" of a tokenizer.json. They are found in a text
// before the model sees what remains.
class AddedTokens {
 public:
  struct Token {
    std::int32_t id = 0;
    std::string content;
    std::string text;          // what is looked for and decoded to: the content, perhaps normalized
    bool single_word = false;  // only where no letter, digit or mark stands at either side
    bool lstrip = false;       // takes the white space before it
    bool rstrip = false;       // and that behind it
    bool normalized = false;   // is looked for in the normalized text, normalized itself
    bool special = false;
  };
  // A stretch of a text, and the token that it is, if it is one.
  struct Stretch {
    Range range;
    const Token* token = nullptr;
  };

  enum class Which { all, not_special };

  // Throws DataError for malformed ones, and where an id is not the one that the token would be given: the model's where
  // the model has it, the next one otherwise.
  AddedTokens(const nlohmann::json& json, const BpeModel& model, const Normalizer& normalizer,
              const std::string& where);

  const std::map<std::int32_t, Token>& by_id() const { return tokens_; }
  std::optional<std::int32_t> id(std::string_view content) const;

  // The longest of the tokens that stand first, and so on, and what lies between them; neither is empty. One of these is
  // for texts as they are, the other for normalized ones.
  std::vector<Stretch> find(std::string_view text, Which which) const { return as_it_is_.find(text, which); }
  std::vector<Stretch> find_normalized(std::string_view text, Which which) const {
    return normalized_.find(text, which);
  }

 private:
  // The texts that are looked for, as a tree of their bytes.
  class Finder {
   public:
    explicit Finder(const std::string& where);
    bool add(std::string_view text, const Token& token);  // false: is there already
    std::vector<Stretch> find(std::string_view text, Which which) const;

   private:
    struct Node {
      std::map<char, std::size_t> next;
      const Token* token = nullptr;
    };
    std::optional<Stretch> next_match(std::string_view text, std::size_t from, Which which) const;
    bool stands_alone(std::string_view text, const Range& range) const;
    bool is_word(std::string_view character) const;

    std::vector<Node> nodes_{1};
    std::array<bool, 256> begins_{};  // by the first byte
    RegularExpression word_character_;
  };

  std::map<std::int32_t, Token> tokens_;  // stay where they are
  std::map<std::string, std::int32_t, std::less<>> ids_;
  Finder as_it_is_, normalized_;
};

}  // namespace chorus
