#include "data/meld.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "data/csv.h"
#include "data/words.h"
#include "ops/error.h"

namespace chorus {

namespace {

// In the order in which the corpus numbers them.
const std::vector<std::string>& emotions() {
  static const std::vector<std::string> names{"neutral", "surprise", "fear", "sadness",
                                              "joy",     "disgust",  "anger"};
  return names;
}

// Windows-1252 for the bytes 0x80 to 0x9F, as UTF-8; empty where it defines nothing.
constexpr std::array<std::string_view, 32> windows_1252{"€", "",  "‚", "ƒ", "„", "…", "†", "‡", "ˆ", "‰", "Š",
                                                        "‹", "Œ", "",  "Ž", "",  "",  "‘", "’", "“", "”", "•",
                                                        "–", "—", "˜", "™", "š", "›", "œ", "",  "ž", "Ÿ"};

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

// [h]h:mm:ss, then perhaps a fraction after a comma or point.
bool is_time(std::string_view text) {
  std::size_t i = 0;
  const auto digits = [&](std::size_t least, std::size_t most) {
    const std::size_t begin = i;
    while (i < text.size() && i - begin < most && text[i] >= '0' && text[i] <= '9') ++i;
    return i - begin >= least;
  };
  const auto mark = [&](std::string_view any) {
    return i < text.size() && any.find(text[i]) != std::string_view::npos && ++i > 0;
  };
  if (!digits(1, 2) || !mark(":") || !digits(2, 2) || !mark(":") || !digits(2, 2)) return false;
  return i == text.size() || (mark(",.") && digits(1, 6) && i == text.size());
}

bool is_blank(const std::string& text) { return text.find_first_not_of(" \t\r\n") == std::string::npos; }

class MeldFile {
 public:
  MeldFile(const std::filesystem::path& path, const MeldOptions& options, CorpusSplit& split,
           SplitLedger& ledger)
      : path_(path.string()),
        csv_(path),
        options_(options),
        split_(split),
        ledger_(ledger),
        utterance_(csv_.column("Utterance")),
        speaker_(csv_.column("Speaker")),
        emotion_(csv_.column("Emotion")),
        dialogue_id_(csv_.column("Dialogue_ID")),
        utterance_id_(csv_.column("Utterance_ID")) {
    for (const char* name : {"StartTime", "EndTime"}) {
      if (csv_.has_column(name)) times_.push_back(csv_.column(name));
    }
  }

  void read() {
    CsvRow row;
    for (bool more = true; more;) {
      try {
        more = csv_.next(row);
        if (more) add(row);
      } catch (const CsvError& error) {
        if (!options_.skip_bad_rows) throw;
        ++ledger_.skipped_rows[error.reason];
      }
    }
    ledger_.rows_read = ledger_.utterances + ledger_.skipped();
    ledger_.dialogues = std::ssize(split_.dialogues);
    require<DataError>(ledger_.utterances > 0, path_, ": has no utterances",
                       ledger_.skipped() > 0 ? ": every row is malformed" : "");
  }

 private:
  void add(CsvRow& row) {
    const std::string& emotion = row.fields[emotion_];
    const std::optional<std::int64_t> dialogue = parse_number(row.fields[dialogue_id_]);
    const std::optional<std::int64_t> id = parse_number(row.fields[utterance_id_]);
    check(row, dialogue.has_value(), "bad Dialogue_ID", "'" + row.fields[dialogue_id_] + "' is not a number");
    check(row, id.has_value(), "bad Utterance_ID", "'" + row.fields[utterance_id_] + "' is not a number");
    check(row, !is_blank(row.fields[utterance_]), "empty utterance", "the Utterance column is blank");
    check(row, !is_blank(row.fields[speaker_]), "empty speaker", "the Speaker column is blank");
    for (const std::size_t column : times_) {
      check(row, is_time(row.fields[column]), "bad time",
            "'" + row.fields[column] + "' is not hours:minutes:seconds");
    }
    const bool known = std::find(emotions().begin(), emotions().end(), emotion) != emotions().end();
    check(row, known, "unknown emotion",
          fmt::format("'{}' is none of {}", emotion, joined(emotions(), ", ")));
    check_order(row, *dialogue, *id);

    ledger_.normalised_characters += normalise_windows_1252(row.fields[utterance_]);
    ledger_.normalised_characters += normalise_windows_1252(row.fields[speaker_]);
    dialogue_of(*dialogue).utterances.push_back(
        {std::to_string(*id), row.fields[speaker_], row.fields[utterance_], emotion, row.line});
    utterance_ids_[*dialogue].push_back(*id);
    ++ledger_.utterances;
  }

  void check_order(const CsvRow& row, std::int64_t dialogue, std::int64_t id) const {
    const auto found = utterance_ids_.find(dialogue);
    if (found == utterance_ids_.end()) return;
    const std::vector<std::int64_t>& ids = found->second;
    check(row, std::find(ids.begin(), ids.end(), id) == ids.end(), "duplicate utterance",
          fmt::format("dialogue {} has an utterance {} already", dialogue, id));
    check(row, id > ids.back(), "utterance out of order",
          fmt::format("utterance {} of dialogue {} stands after utterance {}", id, dialogue, ids.back()));
  }

  Dialogue& dialogue_of(std::int64_t id) {
    const auto [entry, is_new] = dialogue_index_.try_emplace(id, split_.dialogues.size());
    if (is_new) split_.dialogues.push_back({std::to_string(id), {}});
    return split_.dialogues[entry->second];
  }

  void check(const CsvRow& row, bool holds, const std::string& reason, const std::string& details) const {
    if (!holds) throw CsvError(fmt::format("{}:{}: {}: {}", path_, row.line, reason, details), reason);
  }

  std::string path_;
  CsvReader csv_;
  MeldOptions options_;
  CorpusSplit& split_;
  SplitLedger& ledger_;
  std::size_t utterance_, speaker_, emotion_, dialogue_id_, utterance_id_;  // indices of columns
  std::vector<std::size_t> times_;
  std::unordered_map<std::int64_t, std::size_t> dialogue_index_;
  std::unordered_map<std::int64_t, std::vector<std::int64_t>> utterance_ids_;  // of each dialogue
};

}  // namespace

std::int64_t normalise_windows_1252(std::string& text) {
  std::int64_t replaced = 0;
  for (std::size_t i = 0; (i = text.find('\xC2', i)) != std::string::npos && i + 1 < text.size();) {
    const unsigned point =
        static_cast<unsigned char>(text[i + 1]);  // U+0080 to U+00BF are 0xC2 and the point itself
    const std::string_view meant = point == 0xA0 ? " " : point < 0xA0 ? windows_1252[point - 0x80] : "";
    if (meant.empty()) {
      i += 2;
      continue;
    }
    text.replace(i, 2, meant);
    i += meant.size();
    ++replaced;
  }
  return replaced;
}

Corpus read_meld(const std::filesystem::path& folder, const MeldOptions& options, Ledger& ledger) {
  require<DataError>(std::filesystem::is_directory(folder), folder.string(), ": no such folder");
  Corpus corpus{"meld", emotions(), {}};
  for (const char* name : {"train", "dev", "test"}) {
    const std::filesystem::path path = folder / (std::string(name) + "_sent_emo.csv");
    if (!std::filesystem::exists(path)) continue;
    corpus.splits.push_back({name, path.string(), {}});
    ledger.splits.emplace_back().split = name;
    MeldFile(path, options, corpus.splits.back(), ledger.splits.back()).read();
  }
  require<DataError>(!corpus.splits.empty(), folder.string(),
                     ": has none of train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv");
  return corpus;
}

}  // namespace chorus
