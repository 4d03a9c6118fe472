#pragma once

#include <filesystem>
#include <vector>

#include "data/corpora/dialogue.h"
#include "data/corpora/ledger.h"

namespace chorus {

// Reads IEMOCAP (Busso et al. 2008) from the folder of the official release, IEMOCAP_full_release, or the one
// around it: of each of the five sessions dialog/EmoEvaluation/*.txt, whose lines in square brackets label
// turns, and dialog/transcriptions/*.txt, joined by the names of the turns.
//
// The labels are the six of the usual protocol (Majumder et al. 2019, DialogueRNN). Turns with another one, or
// that stand in one of the two files only, are left out, also from history, and the ledger counts them among
// the skipped rows by reason, as it does transcribed lines that belong to no turn; none of these is a defect.
// Turns are sorted by their start; the speaker is F or M, the letter of the turn and not of the dialogue.
// Session 5 is test. Of Sessions 1 to 4 every tenth dialogue, in the order of their names, is dev: 12 of the
// release's 120.
//
// DataError with file and line: a session, folder or transcription that is missing, a line that is neither of
// those above nor a vote or comment, an emotion without meaning, a turn of another dialogue or labelled or
// transcribed twice, an empty transcription.
Corpus read_iemocap(const std::filesystem::path& folder, const CorpusOptions& options,
                    std::vector<SplitLedger>& ledgers);

}  // namespace chorus
