#pragma once

#include <filesystem>
#include <vector>

#include "data/corpora/dialogue.h"
#include "data/corpora/ledger.h"

namespace chorus {

// Reads a folder of MELD (Poria et al. 2019) with at least one of train_sent_emo.csv, dev_sent_emo.csv and
// test_sent_emo.csv; or of its dyadic release, whose names end in _dya.csv. Both in one folder are an error.
//
// Facts of the real files that this allows for: Utterance_ID has gaps and dialogue ids are missing, so the
// order is that of the file. Times are not read. Older copies hold C1 controls where
// Windows-1252 had punctuation: these become the punctuation, and are counted. DataError with file and line:
// whatever csv.h refuses, a missing column, an id that is none, an unknown emotion, an empty
// utterance or speaker, an utterance twice or not in ascending order.
Corpus read_meld(const std::filesystem::path& folder, const CorpusOptions& options,
                 std::vector<SplitLedger>& ledgers);

}  // namespace chorus
