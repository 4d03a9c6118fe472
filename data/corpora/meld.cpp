#include "data/corpora/meld.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <unordered_map>

#include "data/corpora/rows.h"
#include "data/text/csv.h"
#include "data/text/text.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

constexpr const char* splits[]{"train", "dev", "test"};

// In the order in which the corpus numbers them.
const std::vector<std::string>& meld_emotions() {
  static const std::vector<std::string> names{"neutral", "surprise", "fear", "sadness",
                                              "joy",     "disgust",  "anger"};
  return names;
}

class MeldFile {
 public:
  MeldFile(const std::filesystem::path& path, const CorpusOptions& options, NewSplit read)
      : path_(path.string()),
        csv_(path),
        options_(options),
        split_(read.split),
        ledger_(read.ledger),
        utterance_(csv_.column("Utterance")),
        speaker_(csv_.column("Speaker")),
        emotion_(csv_.column("Emotion")),
        dialogue_id_(csv_.column("Dialogue_ID")),
        utterance_id_(csv_.column("Utterance_ID")) {}

  void read() {
    CsvRow row;
    read_rows(options_, ledger_, [&] {
      const bool more = csv_.next(row);
      if (more) add(row);
      return more;
    });
    finish_split(split_, ledger_);
    ledger_.rows_read = ledger_.utterances + ledger_.skipped();
  }

 private:
  void add(CsvRow& row) {
    const std::string& emotion = row.fields[emotion_];
    const std::optional<std::int64_t> dialogue = parse_table_number(row.fields[dialogue_id_]);
    const std::optional<std::int64_t> id = parse_table_number(row.fields[utterance_id_]);
    check(row, dialogue.has_value(), "bad Dialogue_ID", "'" + row.fields[dialogue_id_] + "' is not a number");
    check(row, id.has_value(), "bad Utterance_ID", "'" + row.fields[utterance_id_] + "' is not a number");
    check(row, !is_blank(row.fields[utterance_]), "empty utterance", "the Utterance column is blank");
    check(row, !is_blank(row.fields[speaker_]), "empty speaker", "the Speaker column is blank");
    require_label(emotion, meld_emotions(), {path_, row.line});
    check_order(row, *dialogue, *id);

    dialogue_of(*dialogue).utterances.push_back(
        {std::to_string(*id), row.fields[speaker_], row.fields[utterance_], emotion, row.line});
    utterance_ids_[*dialogue].push_back(*id);
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
    require_row(holds, {path_, row.line}, reason, details);
  }

  std::string path_;
  CsvReader csv_;
  CorpusOptions options_;
  CorpusSplit& split_;
  SplitLedger& ledger_;
  std::size_t utterance_, speaker_, emotion_, dialogue_id_, utterance_id_;  // indices of columns
  std::unordered_map<std::int64_t, std::size_t> dialogue_index_;
  std::unordered_map<std::int64_t, std::vector<std::int64_t>> utterance_ids_;  // of each dialogue
};

}  // namespace

Corpus read_meld(const std::filesystem::path& folder, const CorpusOptions& options,
                 std::vector<SplitLedger>& ledgers) {
  const auto file_of = [&](const char* split, bool dyadic) {
    return folder / fmt::format("{}_sent_emo{}.csv", split, dyadic ? "_dya" : "");
  };
  const auto has = [&](bool dyadic) {
    return std::any_of(std::begin(splits), std::end(splits),
                       [&](const char* split) { return std::filesystem::exists(file_of(split, dyadic)); });
  };
  const bool dyadic = has(true);
  require<DataError>(std::filesystem::is_directory(folder), folder.string(), ": no such folder");
  require<DataError>(
      dyadic || has(false), folder.string(),
      ": has none of train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv, nor their dyadic "
      "versions, train_sent_emo_dya.csv and so on");
  require<DataError>(
      !dyadic || !has(false), folder.string(),
      ": holds MELD (_sent_emo.csv) and its dyadic release (_sent_emo_dya.csv), which share their "
      "dialogues; put them into folders of their own");
  Corpus corpus{"meld", meld_emotions(), {}};
  for (const char* name : splits) {
    const std::filesystem::path path = file_of(name, dyadic);
    if (!std::filesystem::exists(path)) continue;
    MeldFile(path, options, add_split(corpus, ledgers, name, path)).read();
  }
  return corpus;
}

}  // namespace chorus
