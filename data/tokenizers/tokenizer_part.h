#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/text/json.h"
#include "data/tokenizers/regular_expression.h"

namespace chorus {

// A part of a tokenizer.json: a JSON object with a type. Errors begin with the file and the part's place in it.
struct TokenizerPart {
  JsonFields fields;
  std::string type;

  // A flag, which may be missing.
  bool flag(std::string_view key, bool otherwise = false) const;
  // What "pattern" says, {"Regex": …} or {"String": …}.
  RegularExpression pattern() const;
};

// The parts that `json` stands for, in the order in which they work: none for null, and a Sequence is what its field `list`
// holds. Throws DataError for what has no type, and for Sequences in Sequences in Sequences.
std::vector<TokenizerPart> parts_of(const nlohmann::json& json, const std::string& where,
                                    std::string_view list);

// Throws DataError that names the part's type and those that are supported.
[[noreturn]] void refuse(const TokenizerPart& part, std::string_view supported);

}  // namespace chorus
