#include "data/corpora/dailydialog.h"

#include <array>
#include <sstream>
#include <string_view>

#include "data/corpora/rows.h"
#include "data/text/text.h"

namespace chorus {

namespace {

struct SplitFolder {
  const char *name, *folder;
};
constexpr std::array split_folders{SplitFolder{"train", "train"}, SplitFolder{"dev", "validation"},
                                   SplitFolder{"test", "test"}};
constexpr std::string_view end_of_utterance = "__eou__";

// The index is the code.
const std::vector<std::string>& dailydialog_emotions() {
  static const std::vector<std::string> names{"no_emotion", "anger",   "disgust", "fear",
                                              "happiness",  "sadness", "surprise"};
  return names;
}

std::vector<std::string> parse_utterances(std::string_view line, const RowPlace& place) {
  std::vector<std::string> utterances;
  for (line = trimmed(line); !line.empty();) {
    const std::size_t end = line.find(end_of_utterance);
    require_row(end != std::string_view::npos, place, "no __eou__ at the end",
                fmt::format("'{}' is not followed by __eou__", line));
    const std::string_view text = trimmed(line.substr(0, end));
    require_row(!text.empty(), place, "empty utterance",
                fmt::format("there is no text before __eou__ number {}", utterances.size() + 1));
    utterances.emplace_back(text);
    line = trimmed(line.substr(end + end_of_utterance.size()));
  }
  require_row(!utterances.empty(), place, "empty dialogue", "the line is blank");
  return utterances;
}

std::vector<std::string> parse_labels(const std::string& line, const RowPlace& place) {
  std::vector<std::string> labels;
  std::istringstream codes(line);
  for (std::string code; codes >> code;) {
    const auto number = parse_number(code);
    require_row(number.has_value() && *number < std::ssize(dailydialog_emotions()), place, "unknown emotion",
                fmt::format("'{}' is not a code from 0 to {}", code, dailydialog_emotions().size() - 1));
    labels.push_back(dailydialog_emotions()[static_cast<std::size_t>(*number)]);
  }
  return labels;
}

void read_split(const std::filesystem::path& texts, const std::filesystem::path& labels,
                const CorpusOptions& options, NewSplit read) {
  require<DataError>(std::filesystem::exists(labels), labels.string(), ": is missing; it belongs to ",
                     texts.string());
  const std::vector<std::string> text_lines = read_lines(texts);
  const std::vector<std::string> label_lines = read_lines(labels);
  require<DataError>(text_lines.size() == label_lines.size(), texts.string(), " has ", text_lines.size(),
                     " lines but ", labels.string(), " has ", label_lines.size(),
                     "; they must speak of the same dialogues");
  read_rows(options, read.ledger, [&] {
    if (read.ledger.rows_read == std::ssize(text_lines)) return false;
    const auto i = static_cast<std::size_t>(read.ledger.rows_read++);
    const std::int64_t line = read.ledger.rows_read;
    const RowPlace place{texts.string(), line};
    require_utf8(text_lines[i], place);
    std::vector<std::string> utterances = parse_utterances(text_lines[i], place);
    const std::vector<std::string> emotion_names = parse_labels(label_lines[i], {labels.string(), line});
    require_row(utterances.size() == emotion_names.size(), place, "different number of labels",
                fmt::format("{} utterances, but {}:{} has {} labels", utterances.size(), labels.string(),
                            line, emotion_names.size()));
    Dialogue dialogue{std::to_string(i), {}};
    for (std::size_t turn = 0; turn < utterances.size(); ++turn) {
      dialogue.utterances.push_back({std::to_string(turn), turn % 2 == 0 ? "A" : "B",
                                     std::move(utterances[turn]), emotion_names[turn], line});
    }
    read.split.dialogues.push_back(std::move(dialogue));
    return true;
  });
  finish_split(read.split, read.ledger);
}

}  // namespace

Corpus read_dailydialog(const std::filesystem::path& folder, const CorpusOptions& options,
                        std::vector<SplitLedger>& ledgers) {
  Corpus corpus{"dailydialog", dailydialog_emotions(), {}};
  bool has_archives = false;
  for (const auto& [name, release] : split_folders) {
    const std::string texts = fmt::format("dialogues_{}.txt", release);
    const bool nested = std::filesystem::exists(folder / release / texts);
    const std::filesystem::path place = nested ? folder / release : folder;
    has_archives = has_archives || std::filesystem::exists(folder / fmt::format("{}.zip", release));
    if (!std::filesystem::exists(place / texts)) continue;
    read_split(place / texts, place / fmt::format("dialogues_emotion_{}.txt", release), options,
               add_split(corpus, ledgers, name, place / texts));
  }
  require<DataError>(!corpus.splits.empty() || !has_archives, folder.string(),
                     ": holds archives only; unpack train.zip, validation.zip and test.zip there");
  require<DataError>(!corpus.splits.empty(), folder.string(),
                     ": has none of train/dialogues_train.txt, validation/dialogues_validation.txt, "
                     "test/dialogues_test.txt, nor these files without the folders");
  return corpus;
}

}  // namespace chorus
