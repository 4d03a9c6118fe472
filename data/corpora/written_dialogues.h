#pragma once

#include <string>
#include <vector>

#include "data/corpora/dialogue.h"

namespace chorus {

// Dialogues that come from somewhere else than a corpus, in one text: JSON lines as read_dialogue_lines() has them where the
// text begins with a brace, else lines "SPEAKER: WORDS" with an empty line between two dialogues. `origin` names the text
// in messages. Labels are passed over. Normalised as all corpora are. DataError with origin and line for what is neither,
// and for a text without dialogues.
std::vector<Dialogue> parse_written_dialogues(const std::string& text, const std::string& origin);

// One line "SPEAKER: WORDS". DataError with origin and line where one of them is missing.
Utterance parse_written_line(const std::string& line, const std::string& origin, std::int64_t number);

}  // namespace chorus
