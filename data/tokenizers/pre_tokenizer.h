#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "data/tokenizers/byte_alphabet.h"
#include "data/tokenizers/tokenizer_part.h"

namespace chorus {

// A text and where its pieces lie in it, in order, none empty.
struct Pieces {
  std::string text;
  std::vector<Range> ranges;
};

// How a text is cut into words, within which the model merges: the "pre_tokenizer" of a tokenizer.json.
class PreTokenizer {
 public:
  // Throws DataError for a part that is not supported.
  PreTokenizer(const nlohmann::json& json, const std::string& where);

  Pieces operator()(std::string_view text) const;

 private:
  // What becomes of a delimiter.
  enum class Behavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };
  struct Stretch {
    Range range;
    bool matches;
  };
  struct Split {
    RegularExpression pattern;
    Behavior behavior;
    bool invert;
  };
  struct ByteLevel {
    bool add_prefix_space;
    std::optional<RegularExpression> words;
  };
  struct Digits {
    Behavior behavior;
  };
  static std::vector<Stretch> stretches(std::string_view text, const std::vector<Range>& matches);
  static void append(std::vector<Stretch> stretches, Behavior behavior, std::size_t begin,
                     std::vector<Range>& ranges);
  void apply(const Split& step, Pieces& pieces) const;
  void apply(const ByteLevel& step, Pieces& pieces) const;
  void apply(const Digits& step, Pieces& pieces) const;

  ByteAlphabet alphabet_;
  std::vector<std::variant<Split, ByteLevel, Digits>> steps_;
};

}  // namespace chorus
