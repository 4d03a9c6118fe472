#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace chorus {

// What became of everything that was read into one split.
struct SplitLedger {
  std::string split;
  std::int64_t rows_read = 0;                        // rows of a table, lines of JSON, paragraphs of text
  std::map<std::string, std::int64_t> skipped_rows;  // by reason
  std::int64_t dialogues = 0, utterances = 0;
  std::int64_t normalised_characters = 0;
  std::map<std::string, std::int64_t> dropped;  // utterances (or rows) that gave no sample, by reason
  std::int64_t shortened_samples = 0, lines_cut = 0;
  std::int64_t samples = 0, trees = 0;
  std::int64_t tokens = 0;           // with shared prefixes
  std::int64_t unshared_tokens = 0;  // as separate prompts
  std::int64_t supervised_tokens = 0;
  std::int64_t longest_sample = 0;            // tokens
  std::map<std::string, std::int64_t> notes;  // whatever else was counted

  double sharing() const;  // unshared_tokens / tokens
  std::int64_t skipped() const;
  std::int64_t dropped_total() const;
  // Adds what reading another corpus into the same split counted.
  void add_reading(const SplitLedger& other);
};

struct Ledger {
  std::string corpus, recipe;
  std::vector<SplitLedger> splits;
  std::map<std::string, std::int64_t> notes = {};  // of no split
  std::vector<std::string> remarks = {};           // what was chosen, and why
  std::string example = {};                        // of what is learned, to be shown beside the table

  std::string to_json() const;
  // A table with one column per split, for people; every line ends with a line break.
  std::string to_table() const;
};

}  // namespace chorus
