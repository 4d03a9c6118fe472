#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/corpora/dialogue.h"

namespace chorus {

// What of a text counts when two are compared: ASCII letters in lower case, digits, apostrophes (typographic
// ones are the same) and letters beyond ASCII. Hyphens and white space are single spaces, other punctuation is
// gone.
std::string comparable_text(std::string_view text);

// An utterance of a test split that another corpus holds as well.
struct LeakedUtterance {
  std::string corpus, split, dialogue, utterance, text;
  std::vector<std::string> found_in;  // "corpus/split", in the order of the other corpus
};

struct LeakageReport {
  std::string corpus, other;
  std::int64_t utterances = 0, compared = 0;                   // of the test split; those long enough
  std::vector<std::pair<std::string, std::int64_t>> found_in;  // split of the other corpus, how many of them
  std::vector<LeakedUtterance> leaked;                         // in the order of the test split
};

// Which utterances of corpus.test with at least `words` words occur in a split of `other`, as texts that are
// equal by comparable_text(). Throws DataError if `corpus` has no test split.
LeakageReport find_leakage(const Corpus& corpus, const Corpus& other, std::int64_t words);

// For people: a table for each.
std::string to_table(const std::vector<LeakageReport>& reports);
// A line per utterance: {"corpus", "split", "dialogue", "utterance", "text", "found_in"}; several splits with
// ", " between them.
std::string to_json_lines(const std::vector<LeakageReport>& reports);

}  // namespace chorus
