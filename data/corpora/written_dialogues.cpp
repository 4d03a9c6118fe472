#include "data/corpora/written_dialogues.h"

#include "data/corpora/dialogue_lines.h"
#include "data/corpora/normalise.h"
#include "data/corpora/rows.h"
#include "data/text/text.h"

namespace chorus {

namespace {

std::vector<Dialogue> parse_plain(const std::string& text, const std::string& origin) {
  std::vector<Dialogue> dialogues;
  std::int64_t last = -1;  // the line that was read last
  for (const NumberedLine& line : filled_lines(text)) {
    if (last < 0 || line.number > last + 1) dialogues.push_back({std::to_string(dialogues.size()), {}});
    last = line.number;
    std::vector<Utterance>& utterances = dialogues.back().utterances;
    utterances.push_back(parse_written_line(line.text, origin, line.number));
    utterances.back().id = std::to_string(utterances.size() - 1);
  }
  return dialogues;
}

}  // namespace

Utterance parse_written_line(const std::string& line, const std::string& origin, std::int64_t number) {
  const RowPlace place{origin, number};
  require_utf8(line, place);
  const std::size_t colon = line.find(':');
  require_row(colon != std::string::npos, place, "no speaker",
              fmt::format("a line must be SPEAKER: WORDS; it is '{}'", line));
  Utterance utterance;
  const std::string_view words = line;
  utterance.speaker = trimmed(words.substr(0, colon));
  utterance.text = trimmed(words.substr(colon + 1));
  require_row(!utterance.speaker.empty() && !utterance.text.empty(), place,
              utterance.speaker.empty() ? "no speaker" : "no words",
              fmt::format("a line must be SPEAKER: WORDS; it is '{}'", line));
  utterance.line = number;
  normalise(utterance);
  return utterance;
}

std::vector<Dialogue> parse_written_dialogues(const std::string& text, const std::string& origin) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  require<DataError>(first != std::string::npos, origin, ": has no dialogues");
  if (text[first] != '{') return parse_plain(text, origin);
  std::vector<Dialogue> dialogues = parse_dialogue_lines(text, origin);
  for (Dialogue& dialogue : dialogues) {
    for (Utterance& utterance : dialogue.utterances) normalise(utterance);
  }
  return dialogues;
}

}  // namespace chorus
