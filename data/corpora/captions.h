#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/corpora/dialogue.h"
#include "data/corpora/ledger.h"

namespace chorus {

// Visual knowledge in words: joins a file of JSON lines {"split", "dialogue", "utterance", "text"}, with an optional
// "corpus", to the utterances they name. What has no caption is counted in the ledger of its split, and captions that
// name no utterance of these corpora in the ledger. Throws DataError with file and line for a malformed line or a
// second caption of an utterance, and where no caption fits any utterance. `corpora` and `ledgers` (one per split of
// each) belong together.
void join_captions(const std::string& path, std::vector<Corpus>& corpora,
                   std::vector<std::vector<SplitLedger>>& ledgers, Ledger& ledger);

}  // namespace chorus
