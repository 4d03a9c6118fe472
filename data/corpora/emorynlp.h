#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/corpora/dialogue.h"
#include "data/corpora/ledger.h"

namespace chorus {

// Reads a folder of EmoryNLP's emotion detection (Zahiri and Choi 2018, arXiv 1708.04299). Where there is any
// of emorynlp_train_final.csv, emorynlp_dev_final.csv, emorynlp_test_final.csv, the time-aligned subset that
// papers on conversations score, these are read; else the authors' own release, emotion-detection-trn.json,
// -dev.json, -tst.json, which holds more. CorpusSplit::file says which.
//
// The numbers of scenes begin anew with each episode, so a dialogue is SEASON_EPISODE_SCENE in both layouts.
// Where several people speak at once, the speaker is their names in the order of the file with ", " between
// them. DataError with file and line: whatever csv.h refuses, what is no JSON, a missing column or field, an
// id that is none, an unknown emotion, an empty utterance, no speaker, an utterance twice or not in
// ascending order.
Corpus read_emorynlp(const std::filesystem::path& folder, const CorpusOptions& options,
                     std::vector<SplitLedger>& ledgers);

// The texts of a list as Python prints it: ['Monica Geller', "Phoebe's Assistant"]. Nothing if it is none.
std::optional<std::vector<std::string>> parse_python_list(std::string_view text);

}  // namespace chorus
