#pragma once

#include <filesystem>

#include "data/dialogue.h"
#include "data/ledger.h"

namespace chorus {

struct MeldOptions {
  bool skip_bad_rows = false;  // count malformed rows in the ledger instead of throwing
};

// Reads a folder with train_sent_emo.csv, dev_sent_emo.csv and test_sent_emo.csv (at least one of them) in
// the layout of MELD (Poria et al. 2019). The ledger gains a split per file.
//
// Facts of the real files that this allows for: Utterance_ID has gaps and dialogue ids are missing, so the
// order is that of the file; hours of times may have one digit. Older copies hold C1 controls where
// Windows-1252 had punctuation: these become the punctuation, and are counted. DataError with file and line:
// whatever csv.h refuses, a missing column, an id or time that is none, an unknown emotion, an empty
// utterance or speaker, an utterance twice or not in ascending order.
Corpus read_meld(const std::filesystem::path& folder, const MeldOptions& options, Ledger& ledger);

// Replaces U+0080..U+009F by what Windows-1252 means by these bytes, and U+00A0 by a space. Returns how many.
std::int64_t normalise_windows_1252(std::string& text);

}  // namespace chorus
