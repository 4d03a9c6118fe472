#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/scoring/metrics.h"

namespace chorus {

// How a label is looked for in a generated answer.
enum class MatchRule { words, instructerc };

struct LabelMatch {
  std::int32_t index = 0;  // may be no_label
  bool found = true;       // false: no label stands in the answer; this is one that resembles it, or none
};

// By words: the first label that stands in the answer from left to right, the longest of those that start at one place
// (of equals the one in the same case, then the earlier one). Upper and lower case of Latin, Greek and Cyrillic letters
// are the same, and a label begins and ends at the border of a word, where the script has words with blanks between
// them. Otherwise the label that the whole answer is a misspelling of, if it is exactly one: with the same first letter
// and at most one edit (Levenshtein) in four characters of the label, and fewer than any other label needs.
//
// As InstructERC does it: the same search by the letter, inside of words too; otherwise the label of the smallest
// Levenshtein distance to the whole answer, the earlier one of equals. Every answer gets a label.
LabelMatch match_label(std::string_view answer, std::span<const std::string> labels,
                       MatchRule rule = MatchRule::words);

}  // namespace chorus
