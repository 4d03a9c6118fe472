#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/corpora/dialogue.h"
#include "data/corpora/ledger.h"

namespace chorus {

// Side texts tell of lines what their corpus does not hold: what is seen (captions), who speaks, how it sounds. Each has a
// name, which is its placeholder in recipes, and at most one text for a line.

// [a-z][a-z0-9_]*, but none of the placeholders that recipes have anyway.
bool is_side_name(std::string_view name);
inline constexpr const char* side_name_rule =
    "a side text's name has small letters, digits and '_', begins with a letter, and is no other placeholder "
    "of recipes";

// Null where the line has none.
const std::string* side_text(const Utterance& utterance, std::string_view name);
void set_side_text(Utterance& utterance, std::string_view name, std::shared_ptr<const std::string> text);

// Joins a file of JSON lines to the utterances they speak of. Each has a `text`, may have a `corpus`, and names
//   split, dialogue, utterance    one line
//   split, dialogue, speaker      a speaker's lines in a dialogue
//   split, dialogue               all lines of a dialogue
//   speaker                       a speaker's lines everywhere
// A line gets the first of these that fits it; a text that it has already gives way to its own only. Texts that fit no line
// are counted in the ledger. Returns whether any of them is of a speaker. Throws DataError with file and line for a
// malformed line or a second text of the same, and where none fits any line. `corpora` and `ledgers` (one per
// split of each) belong together.
bool join_side_texts(const std::string& name, const std::string& path, std::vector<Corpus>& corpora,
                     std::vector<std::vector<SplitLedger>>& ledgers, Ledger& ledger);

// Counts the lines without such a text in the ledgers of their splits, and returns true, unless none has one.
bool count_lines_without(const std::string& name, const std::vector<Corpus>& corpora,
                         std::vector<std::vector<SplitLedger>>& ledgers);

}  // namespace chorus
