#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace chorus {

// A part of a text, in bytes.
struct Range {
  std::size_t begin = 0, end = 0;

  bool empty() const { return begin == end; }
  std::string_view of(std::string_view text) const { return text.substr(begin, end - begin); }
};

// A regular expression as the tokenizers of Hugging Face have them: Oniguruma's, in its own syntax. May be used by
// several threads.
class RegularExpression {
 public:
  // Errors begin with `where`. Throws DataError for an expression that cannot be compiled.
  RegularExpression(std::string_view expression, std::string where);
  // One that matches these very characters.
  static RegularExpression literal(std::string_view characters, std::string where);

  // The matches in well-formed UTF-8, from left to right; none is empty where the one before it ends. Throws DataError
  // where Oniguruma gives up.
  void find_all(std::string_view text, std::vector<Range>& matches) const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace chorus
