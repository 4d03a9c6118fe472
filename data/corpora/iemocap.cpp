#include "data/corpora/iemocap.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <regex>
#include <string_view>
#include <tuple>

#include "data/corpora/rows.h"
#include "data/text/text.h"

namespace chorus {

namespace {

namespace fs = std::filesystem;

constexpr int sessions = 5;
constexpr std::size_t dev_period = 10;  // every tenth dialogue of the first four sessions is dev

struct Emotion {
  std::string_view code, label;  // no label: not of the six
};
constexpr std::array iemocap_emotions{
    Emotion{"hap", "happy"}, Emotion{"sad", "sad"},     Emotion{"neu", "neutral"},
    Emotion{"ang", "angry"}, Emotion{"exc", "excited"}, Emotion{"fru", "frustrated"},
    Emotion{"sur", ""},      Emotion{"fea", ""},        Emotion{"dis", ""},
    Emotion{"oth", ""},      Emotion{"xxx", ""}};

std::vector<std::string> labels() {
  std::vector<std::string> names;
  for (const Emotion& emotion : iemocap_emotions)
    if (!emotion.label.empty()) names.emplace_back(emotion.label);
  return names;
}

struct Files {
  fs::path evaluation, transcription;
};

// The dialogues of a session in the order of their names. The release has folders with the votes of each
// person beside the files, and its archive may have left ._ files of macOS.
std::vector<Files> files_of_session(const fs::path& session) {
  const fs::path evaluations = session / "dialog/EmoEvaluation",
                 transcriptions = session / "dialog/transcriptions";
  for (const fs::path& folder : {evaluations, transcriptions}) {
    require<DataError>(fs::is_directory(folder), folder.string(),
                       ": no such folder; the layout must be that of IEMOCAP_full_release");
  }
  std::vector<Files> files;
  for (const auto& entry : fs::directory_iterator(evaluations)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || !name.starts_with("Ses") || entry.path().extension() != ".txt") continue;
    files.push_back({entry.path(), transcriptions / name});
  }
  require<DataError>(!files.empty(), evaluations.string(), ": has no Ses*.txt");
  std::sort(files.begin(), files.end(),
            [](const Files& a, const Files& b) { return a.evaluation.filename() < b.evaluation.filename(); });
  return files;
}

struct Turn {
  double start = 0;  // seconds
  std::string code;
  std::int64_t line = 0;
};

struct Transcript {
  std::string text;
  bool labelled = false;
};

// One dialogue on its way into a split.
class IemocapDialogue {
 public:
  IemocapDialogue(Files files, const CorpusOptions& options, SplitLedger& ledger)
      : files_(std::move(files)),
        name_(files_.evaluation.stem().string()),
        options_(options),
        ledger_(ledger) {}

  Dialogue read() {
    require<DataError>(fs::exists(files_.transcription), files_.transcription.string(),
                       ": is missing; it belongs to ", files_.evaluation.string());
    read_transcription();
    read_evaluation();
    Dialogue dialogue = joined_turns();
    for (const auto& [name, transcript] : transcripts_) {
      if (!transcript.labelled) ++ledger_.skipped_rows["transcribed turn without label"];
    }
    return dialogue;
  }

 private:
  void for_each_line(const fs::path& path,
                     const std::function<void(const std::string&, const RowPlace&)>& take) {
    const std::vector<std::string> lines = read_lines(path);
    std::size_t next = 0;
    read_rows(options_, ledger_, [&] {
      if (next == lines.size()) return false;
      const std::string& line = lines[next++];
      const RowPlace place{path.string(), static_cast<std::int64_t>(next)};
      require_utf8(line, place);
      if (!is_blank(line)) take(line, place);
      return true;
    });
  }

  // The name within the dialogue, F012 of Ses01F_impro01_F012.
  std::string turn_of(const std::string& name, const RowPlace& place) const {
    static const std::regex turn("[FM][X0-9][X0-9][0-9]");
    const std::string prefix = name_ + "_";
    const std::string rest = name.substr(std::min(prefix.size(), name.size()));
    require_row(name.starts_with(prefix) && std::regex_match(rest, turn), place, "bad turn",
                fmt::format("'{}' is no turn of {}, such as {}_F012", name, name_, name_));
    return rest;
  }

  void read_transcription() {
    static const std::regex turn(R"(^(\S+) \[\d+(?:\.\d+)?-\d+(?:\.\d+)?\]:(.*)$)");
    for_each_line(files_.transcription, [&](const std::string& line, const RowPlace& place) {
      std::smatch match;
      if (!std::regex_match(line, match, turn)) {
        require_row(!line.starts_with("Ses"), place, "malformed transcription",
                    "a line about a turn must be NAME [START-END]: TEXT");
        ++ledger_.skipped_rows["transcribed line without turn"];
        return;
      }
      const std::string name = turn_of(match[1], place);
      std::string text(trimmed(match[2].str()));
      require_row(!text.empty(), place, "empty utterance", "nothing is transcribed");
      require_row(!transcripts_.contains(name), place, "duplicate utterance",
                  "turn " + name + " is transcribed above");
      transcripts_[name].text = std::move(text);
    });
  }

  void read_evaluation() {
    static const std::regex vote("^[A-Z]-[A-Z]+[0-9]*:.*$");
    static const std::regex turn(R"(^\[(\d+(?:\.\d+)?) - (\d+(?:\.\d+)?)\]\t(\S+)\t(\S+)\t\[.*\]\s*$)");
    for_each_line(files_.evaluation, [&](const std::string& line, const RowPlace& place) {
      if (line.starts_with('%') || std::regex_match(line, vote)) return;
      std::smatch match;
      require_row(std::regex_match(line, match, turn), place, "malformed evaluation",
                  "neither a vote, a comment, nor [START - END] TURN EMOTION [V, A, D] with tabs between");
      const std::string name = turn_of(match[3], place), code = match[4];
      const bool known = std::any_of(iemocap_emotions.begin(), iemocap_emotions.end(),
                                     [&](const Emotion& emotion) { return emotion.code == code; });
      require_row(known, place, "unknown emotion", "'" + code + "' is none of " + codes());
      require_row(!turns_.contains(name), place, "duplicate utterance",
                  "turn " + name + " is labelled above");
      const std::string start = match[1];
      Turn parsed{0, code, place.line};
      std::from_chars(start.data(), start.data() + start.size(), parsed.start);
      turns_[name] = std::move(parsed);
    });
  }

  static std::string codes() {
    std::vector<std::string> names;
    for (const Emotion& emotion : iemocap_emotions) names.emplace_back(emotion.code);
    return joined(names, ", ");
  }

  Dialogue joined_turns() {
    std::vector<std::pair<std::string, Turn>> order(turns_.begin(), turns_.end());
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
      return std::tuple(a.second.start, a.second.line) < std::tuple(b.second.start, b.second.line);
    });
    Dialogue dialogue{name_, {}};
    for (const auto& [name, turn] : order) {
      const auto transcript = transcripts_.find(name);
      if (transcript == transcripts_.end()) {
        ++ledger_.skipped_rows["labelled turn without transcription"];
        continue;
      }
      transcript->second.labelled = true;
      const auto emotion = std::find_if(iemocap_emotions.begin(), iemocap_emotions.end(),
                                        [&code = turn.code](const Emotion& e) { return e.code == code; });
      if (emotion->label.empty()) {
        ++ledger_.skipped_rows["emotion outside the six: " + turn.code];
        continue;
      }
      dialogue.utterances.push_back({name, name.substr(0, 1), std::move(transcript->second.text),
                                     std::string(emotion->label), turn.line});
    }
    return dialogue;
  }

  Files files_;
  std::string name_;
  CorpusOptions options_;
  SplitLedger& ledger_;
  std::map<std::string, Turn> turns_;  // of the evaluation, by name within the dialogue
  std::map<std::string, Transcript> transcripts_;
};

fs::path find_release(const fs::path& folder) {
  for (const fs::path& release : {folder, folder / "IEMOCAP_full_release"}) {
    if (fs::is_directory(release / "Session1")) return release;
  }
  throw DataError(folder.string() + ": has neither Session1 nor IEMOCAP_full_release/Session1");
}

void read_split(const std::vector<Files>& files, const CorpusOptions& options, NewSplit read) {
  for (const Files& dialogue_files : files) {
    Dialogue dialogue = IemocapDialogue(dialogue_files, options, read.ledger).read();
    if (!dialogue.utterances.empty()) read.split.dialogues.push_back(std::move(dialogue));
  }
  finish_split(read.split, read.ledger);
  read.ledger.rows_read = read.ledger.utterances + read.ledger.skipped();
}

}  // namespace

Corpus read_iemocap(const fs::path& folder, const CorpusOptions& options, std::vector<SplitLedger>& ledgers) {
  const fs::path release = find_release(folder);
  std::vector<Files> train, dev, test;
  std::size_t count = 0;
  for (int session = 1; session <= sessions; ++session) {
    for (Files& files : files_of_session(release / fmt::format("Session{}", session))) {
      std::vector<Files>& split = session == sessions ? test : ++count % dev_period == 0 ? dev : train;
      split.push_back(std::move(files));
    }
  }
  require<DataError>(!dev.empty(), release.string(), ": Sessions 1 to 4 hold ", count,
                     " dialogues, too few for a dev split of every tenth; is the release complete?");
  Corpus corpus{"iemocap", labels(), {}};
  read_split(train, options, add_split(corpus, ledgers, "train", release));
  read_split(dev, options, add_split(corpus, ledgers, "dev", release));
  read_split(test, options, add_split(corpus, ledgers, "test", release));
  return corpus;
}

}  // namespace chorus
