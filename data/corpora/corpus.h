#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/corpora/dialogue.h"
#include "data/corpora/ledger.h"

namespace chorus {

// The names that read_corpus() knows: meld, emorynlp, iemocap, dailydialog, jsonl.
const std::vector<std::string>& dialogue_corpora();

// Reads the corpus of this name, whose layout its own header explains; appends a ledger per split, in the
// order of Corpus::splits. Throws ConfigurationError for an unknown name (naming the nearest), DataError with
// file and line for whatever the corpus must not contain.
Corpus read_corpus(const std::string& name, const std::filesystem::path& path, const CorpusOptions& options,
                   std::vector<SplitLedger>& ledgers);

}  // namespace chorus
