#pragma once

#include <filesystem>
#include <vector>

#include "data/corpora/dialogue.h"
#include "data/corpora/ledger.h"

namespace chorus {

// Reads the release of DailyDialog (Li et al. 2017), its archives unpacked: train/dialogues_train.txt and
// train/dialogues_emotion_train.txt, the same below validation (which becomes dev) and test; or these files
// in one folder. At least one of the splits.
//
// A line is a dialogue, its id the number of lines before it; utterances end in __eou__ and are numbered from
// 0; A and B speak in turn. The emotion file has a line of codes for each, in the order of Corpus::labels.
// DataError with file and line: files of different lengths, a line with another number of labels than of
// utterances (the release has one, in train), a code that is none, an empty utterance, a line that does not
// end in __eou__.
Corpus read_dailydialog(const std::filesystem::path& folder, const CorpusOptions& options,
                        std::vector<SplitLedger>& ledgers);

}  // namespace chorus
