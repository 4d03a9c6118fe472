#include "data/corpora/emorynlp.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>
#include <unordered_map>

#include "data/corpora/rows.h"
#include "data/text/csv.h"
#include "data/text/json.h"
#include "data/text/text.h"
#include "data/text/text_file.h"

namespace chorus {

namespace {

using Json = nlohmann::json;

struct SplitFiles {
  const char *name, *csv, *json;
};
constexpr std::array files{SplitFiles{"train", "emorynlp_train_final.csv", "emotion-detection-trn.json"},
                           SplitFiles{"dev", "emorynlp_dev_final.csv", "emotion-detection-dev.json"},
                           SplitFiles{"test", "emorynlp_test_final.csv", "emotion-detection-tst.json"}};

// In the order of the papers' tables.
const std::vector<std::string>& emorynlp_emotions() {
  static const std::vector<std::string> names{"Joyful", "Mad",      "Peaceful", "Neutral",
                                              "Sad",    "Powerful", "Scared"};
  return names;
}

struct EmoryRow {
  std::int64_t season = 0, episode = 0, scene = 0, utterance = 0;
  std::vector<std::string> speakers;
  std::string text, emotion;
};

// Checks the rows of a split and makes dialogues of them.
class EmorySplit {
 public:
  explicit EmorySplit(NewSplit target) : split_(target.split), ledger_(target.ledger) {}

  void add(EmoryRow row, const RowPlace& place) {
    require_row(!is_blank(row.text), place, "empty utterance", "there is no text");
    require_row(!row.speakers.empty(), place, "no speaker", "the list of speakers is empty");
    for (const std::string& speaker : row.speakers)
      require_row(!is_blank(speaker), place, "no speaker", "a speaker has no name");
    require_label(row.emotion, emorynlp_emotions(), place);
    const std::string id = fmt::format("{}_{}_{}", row.season, row.episode, row.scene);
    check_order(id, row.utterance, place);

    std::string speaker = joined(row.speakers, ", ");
    const auto [entry, is_new] = index_.try_emplace(id, split_.dialogues.size());
    if (is_new) split_.dialogues.push_back({id, {}});
    split_.dialogues[entry->second].utterances.push_back({std::to_string(row.utterance), std::move(speaker),
                                                          std::move(row.text), std::move(row.emotion),
                                                          place.line});
    last_[id] = row.utterance;
  }

  void finish() {
    finish_split(split_, ledger_);
    ledger_.rows_read = ledger_.utterances + ledger_.skipped();
  }

  SplitLedger& ledger() { return ledger_; }

 private:
  void check_order(const std::string& dialogue, std::int64_t utterance, const RowPlace& place) const {
    const auto last = last_.find(dialogue);
    if (last == last_.end()) return;
    require_row(utterance != last->second, place, "duplicate utterance",
                fmt::format("scene {} has an utterance {} already", dialogue, utterance));
    require_row(
        utterance > last->second, place, "utterance out of order",
        fmt::format("utterance {} of scene {} stands after utterance {}", utterance, dialogue, last->second));
  }

  CorpusSplit& split_;
  SplitLedger& ledger_;
  std::unordered_map<std::string, std::size_t> index_;
  std::unordered_map<std::string, std::int64_t> last_;  // utterance of each dialogue
};

void read_csv(const std::filesystem::path& path, const CorpusOptions& options, EmorySplit split) {
  CsvReader csv(path);
  const std::size_t text = csv.column("Utterance"), speaker = csv.column("Speaker"),
                    emotion = csv.column("Emotion");
  const std::array<std::size_t, 4> numbers{csv.column("Season"), csv.column("Episode"),
                                           csv.column("Scene_ID"), csv.column("Utterance_ID")};

  CsvRow row;
  read_rows(options, split.ledger(), [&] {
    if (!csv.next(row)) return false;
    const RowPlace place{path.string(), row.line};
    EmoryRow parsed;
    const std::array<std::int64_t*, 4> values{&parsed.season, &parsed.episode, &parsed.scene,
                                              &parsed.utterance};
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const std::string& column = csv.columns()[numbers[i]];
      const auto value = parse_table_number(row.fields[numbers[i]]);
      require_row(value.has_value(), place, "bad " + column,
                  "'" + row.fields[numbers[i]] + "' is not a number");
      *values[i] = *value;
    }
    const auto speakers = parse_python_list(row.fields[speaker]);
    require_row(speakers.has_value(), place, "bad speakers",
                row.fields[speaker] + " is not a list such as ['Ann Lee', 'Bo Ray']");
    parsed.speakers = *speakers;
    parsed.text = row.fields[text];
    parsed.emotion = row.fields[emotion];
    split.add(std::move(parsed), place);
    return true;
  });
  split.finish();
}

// --- the authors' JSON ---------------------------------------------------------------------------------------

// Finds the lines of ids that are asked for in the order of the file: JSON parsers do not tell lines.
class LineFinder {
 public:
  explicit LineFinder(std::string_view text) : text_(text) {}

  // Of the last id.
  std::int64_t line() const { return line_; }

  std::int64_t line_of(const std::string& id) {
    const std::size_t found = text_.find('"' + id + '"', position_);
    if (found == std::string_view::npos) return line_;
    line_ += std::count(text_.begin() + static_cast<std::ptrdiff_t>(position_),
                        text_.begin() + static_cast<std::ptrdiff_t>(found), '\n');
    position_ = found;
    return line_;
  }

 private:
  std::string_view text_;
  std::size_t position_ = 0;
  std::int64_t line_ = 1;
};

const Json& member(const Json& object, const char* name, const std::string& where) {
  require<DataError>(object.is_object() && object.contains(name), where, ": there is no field '", name, "'");
  return object[name];
}

const Json& array(const Json& object, const char* name, const std::string& where) {
  const Json& value = member(object, name, where);
  require<DataError>(value.is_array(), where, ": field '", name, "' must be an array");
  return value;
}

std::string text_field(const Json& utterance, const char* name, const RowPlace& place) {
  const bool is_text = utterance.is_object() && utterance.contains(name) && utterance[name].is_string();
  require_row(is_text, place, std::string("bad ") + name, "there must be a text of that name");
  return utterance[name].get<std::string>();
}

// "s01_e02_c03_u004"
void parse_id(const std::string& id, EmoryRow& row, const RowPlace& place) {
  std::array<std::int64_t*, 4> values{&row.season, &row.episode, &row.scene, &row.utterance};
  constexpr std::string_view letters = "secu";
  std::string_view rest = id;
  bool good = true;
  for (std::size_t i = 0; i < values.size() && good; ++i) {
    const std::size_t end = std::min(rest.find('_'), rest.size());
    const auto value = rest.empty() ? std::nullopt : parse_number(rest.substr(1, end - 1));
    good = value.has_value() && rest[0] == letters[i] && (end == rest.size()) == (i + 1 == values.size());
    if (good) *values[i] = *value;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  require_row(good, place, "bad utterance_id", "'" + id + "' is not such as s01_e02_c03_u004");
}

EmoryRow parse_utterance(const Json& utterance, const std::string& id, const RowPlace& place) {
  EmoryRow row;
  parse_id(id, row, place);
  row.text = text_field(utterance, "transcript", place);
  row.emotion = text_field(utterance, "emotion", place);
  require_row(utterance.contains("speakers") && utterance["speakers"].is_array(), place, "bad speakers",
              "the field must be an array of names");
  for (const Json& speaker : utterance["speakers"]) {
    require_row(speaker.is_string(), place, "bad speakers", speaker.dump() + " is no name");
    row.speakers.push_back(speaker.get<std::string>());
  }
  return row;
}

void read_json(const std::filesystem::path& path, const CorpusOptions& options, EmorySplit split) {
  const std::string file = path.string(), text = read_text_file(path);
  const Json season = parse_json(text, file);
  std::vector<const Json*> utterances;
  for (const Json& episode : array(season, "episodes", file)) {
    for (const Json& scene : array(episode, "scenes", file)) {
      for (const Json& utterance : array(scene, "utterances", file)) utterances.push_back(&utterance);
    }
  }
  LineFinder lines(text);
  std::size_t next = 0;
  read_rows(options, split.ledger(), [&] {
    if (next == utterances.size()) return false;
    const Json& utterance = *utterances[next++];
    const std::string id = text_field(utterance, "utterance_id", {file, lines.line()});
    const RowPlace place{file, lines.line_of(id)};
    split.add(parse_utterance(utterance, id, place), place);
    return true;
  });
  split.finish();
}

}  // namespace

std::optional<std::vector<std::string>> parse_python_list(std::string_view text) {
  text = trimmed(text);
  if (!text.starts_with('[') || !text.ends_with(']') || text.size() < 2) return std::nullopt;
  text = trimmed(text.substr(1, text.size() - 2));
  std::vector<std::string> items;
  while (!text.empty()) {
    const char quote = text[0];
    if (quote != '\'' && quote != '"') return std::nullopt;
    std::string& item = items.emplace_back();
    std::size_t i = 1;
    for (; i < text.size() && text[i] != quote; ++i) {
      if (text[i] == '\\' && ++i == text.size()) return std::nullopt;
      item += text[i];
    }
    if (i >= text.size()) return std::nullopt;
    text = trimmed(text.substr(i + 1));
    if (text.empty()) break;
    if (text[0] != ',') return std::nullopt;
    text = trimmed(text.substr(1));
    if (text.empty()) return std::nullopt;
  }
  return items;
}

Corpus read_emorynlp(const std::filesystem::path& folder, const CorpusOptions& options,
                     std::vector<SplitLedger>& ledgers) {
  const auto exists = [&](const char* file) { return std::filesystem::exists(folder / file); };
  const bool use_csv =
      std::any_of(files.begin(), files.end(), [&](const auto& split) { return exists(split.csv); });
  Corpus corpus{"emorynlp", emorynlp_emotions(), {}};
  for (const SplitFiles& names : files) {
    const std::filesystem::path path = folder / (use_csv ? names.csv : names.json);
    if (!std::filesystem::exists(path)) continue;
    const auto read = use_csv ? read_csv : read_json;
    read(path, options, EmorySplit(add_split(corpus, ledgers, names.name, path)));
  }
  require<DataError>(
      !corpus.splits.empty(), folder.string(),
      ": has none of emorynlp_train_final.csv, emorynlp_dev_final.csv, emorynlp_test_final.csv, nor "
      "of emotion-detection-trn.json, emotion-detection-dev.json, emotion-detection-tst.json");
  return corpus;
}

}  // namespace chorus
