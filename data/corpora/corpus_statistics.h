#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/corpora/dialogue.h"
#include "data/corpora/ledger.h"

namespace chorus {

// Of a list of lengths; all 0 for none.
struct LengthStatistics {
  double mean = 0;
  std::int64_t p95 = 0;  // the smallest that at least 95 of 100 do not exceed
  std::int64_t longest = 0;
};
LengthStatistics statistics_of(std::vector<std::int64_t> lengths);

struct SplitStatistics {
  std::string name, file;
  std::int64_t dialogues = 0, utterances = 0;
  std::vector<std::int64_t> label_counts;  // as Corpus::labels
  std::int64_t without_label = 0;
  std::map<std::string, std::int64_t> with_side_text;  // utterances, by its name
  std::int64_t speakers = 0, most_speakers = 0;        // distinct in the split; in one dialogue
  LengthStatistics words, turns;                       // of utterances, between white space; of dialogues
  std::map<std::string, std::int64_t> skipped_rows;    // by reason
};

struct CorpusStatistics {
  std::string corpus;
  std::vector<std::string> labels;
  std::vector<SplitStatistics> splits;

  // For people, a column per split; lines of labels show their share of the labelled utterances. What no split
  // has is left out.
  std::string to_table() const;
};

// `ledgers`: those of the reading, one per split.
CorpusStatistics statistics_of(const Corpus& corpus, const std::vector<SplitLedger>& ledgers);

}  // namespace chorus
