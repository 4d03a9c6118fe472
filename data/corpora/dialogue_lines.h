#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/corpora/dialogue.h"
#include "data/corpora/ledger.h"

namespace chorus {

// Reads a folder of JSON lines: each NAME.jsonl is a split, each line a dialogue
//   {"id": "7", "utterances": [{"id": "0", "speaker": "Ann", "text": "Hi!", "label": "joy", "side": {"NAME": "..."}}]}
// `id` (by default the position in the dialogue), `label`, `side` (side_texts.h) and `caption`, the side text of that name, may
// be left out or null;
// docs/formats.md has the schema. Blank lines are passed over. train, dev (see split_files.h) and test come first,
// others by name. Labels are those of labels.json beside them, an array of texts in index order, or else the sorted
// set of those that occur.
//
// DataError with file and line: what is no JSON, an unknown field (naming the nearest), a field of another
// type, an empty text or speaker, an id twice, a dialogue without utterances, a label that labels.json does
// not have, a zero character, two files for one split. Without labels.json some utterance must have a label.
Corpus read_dialogue_lines(const std::filesystem::path& folder, const CorpusOptions& options,
                           std::vector<SplitLedger>& ledgers);

// The dialogues of one such text, as they stand there, whatever their labels. `origin` is the file of messages. DataError as
// above.
std::vector<Dialogue> parse_dialogue_lines(const std::string& text, const std::string& origin);

}  // namespace chorus
