#include "data/corpora/side_texts.h"

#include <algorithm>
#include <array>
#include <compare>
#include <map>
#include <utility>

#include "data/corpora/normalise.h"
#include "data/corpora/split_files.h"
#include "data/text/json.h"
#include "data/text/text.h"
#include "data/text/text_file.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

constexpr std::array<std::string_view, 7> other_placeholders{
    "features", "index", "label", "labels", "speaker", "speaker_number", "utterance"};

// What a text speaks of; what it does not name is empty.
struct SideKey {
  std::string split, dialogue, utterance, speaker;
  auto operator<=>(const SideKey&) const = default;

  std::string described() const {
    if (split.empty()) return "speaker " + speaker;
    const std::string within = "dialogue " + dialogue + " in " + split;
    if (!utterance.empty()) return "utterance " + utterance + " of " + within;
    return speaker.empty() ? within : "speaker " + speaker + " in " + within;
  }
};

struct SideEntry {
  std::shared_ptr<const std::string> text;
  std::string corpus;
  std::int64_t normalised = 0;  // characters
  bool fits = false, used = false;
};

using SideEntries = std::map<SideKey, std::vector<SideEntry>>;

SideKey parse_key(const JsonFields& fields) {
  const auto named = [&](const char* field) {
    return fields.has(field) ? fields.filled_text(field) : std::string();
  };
  SideKey key{split_name(named("split")), named("dialogue"), named("utterance"), named("speaker")};
  normalise(key.speaker);
  const bool split = fields.has("split"), dialogue = fields.has("dialogue"),
             utterance = fields.has("utterance"), speaker = fields.has("speaker");
  require<DataError>(
      split == dialogue && (split || speaker) && !(utterance && (speaker || !split)), fields.where(),
      ": must name split, dialogue and utterance, or split, dialogue and speaker, or split and "
      "dialogue, or a speaker alone");
  return key;
}

SideEntries read_entries(const std::string& path) {
  SideEntries entries;
  for (const NumberedLine& line : filled_lines(read_text_file(path))) {
    const std::string where = fmt::format("{}:{}", path, line.number);
    const nlohmann::json json = parse_json(line.text, where);
    const JsonFields fields(json, where, {"corpus", "split", "dialogue", "utterance", "speaker", "text"});
    std::string text = fields.required_text("text");
    SideEntry entry;
    entry.normalised = normalise(text);
    require<DataError>(!is_blank(text), where, ": field 'text' is blank; leave the line out");
    entry.text = std::make_shared<const std::string>(std::move(text));
    entry.corpus = fields.text("corpus").value_or("");
    const SideKey key = parse_key(fields);
    std::vector<SideEntry>& same = entries[key];
    for (const SideEntry& other : same) {
      require<DataError>(!other.corpus.empty() && !entry.corpus.empty() && other.corpus != entry.corpus,
                         where, ": a second text of ", key.described());
    }
    same.push_back(std::move(entry));
  }
  return entries;
}

// Null if there is none of that key.
SideEntry* find_entry(SideEntries& entries, const SideKey& key, const std::string& corpus) {
  const auto found = entries.find(key);
  if (found == entries.end()) return nullptr;
  const auto entry = std::ranges::find_if(found->second, [&](const SideEntry& candidate) {
    return candidate.corpus.empty() || candidate.corpus == corpus;
  });
  return entry == found->second.end() ? nullptr : &*entry;
}

void join_entries(SideEntries& entries, const std::string& name, const std::string& corpus,
                  const std::string& split, const Dialogue& dialogue, Utterance& utterance,
                  SplitLedger& ledger) {
  const std::string &d = dialogue.id, &speaker = utterance.speaker;
  const std::array keys{SideKey{split, d, utterance.id, ""}, SideKey{split, d, "", speaker},
                        SideKey{split, d, "", ""}, SideKey{"", "", "", speaker}};
  bool done = false;
  for (const SideKey& key : keys) {
    if (SideEntry* entry = find_entry(entries, key, corpus)) {
      entry->fits = true;
      if (done || (key.utterance.empty() && side_text(utterance, name) != nullptr)) continue;
      set_side_text(utterance, name, entry->text);
      if (!std::exchange(entry->used, true)) ledger.normalised_characters += entry->normalised;
      done = true;
    }
  }
}

}  // namespace

bool is_side_name(std::string_view name) {
  const auto small = [](char c) { return c >= 'a' && c <= 'z'; };
  return !name.empty() && small(name[0]) &&
         std::ranges::all_of(name, [&](char c) { return small(c) || (c >= '0' && c <= '9') || c == '_'; }) &&
         std::ranges::find(other_placeholders, name) == other_placeholders.end();
}

const std::string* side_text(const Utterance& utterance, std::string_view name) {
  const auto found = std::ranges::find(utterance.side, name, &SideText::name);
  return found == utterance.side.end() ? nullptr : found->text.get();
}

void set_side_text(Utterance& utterance, std::string_view name, std::shared_ptr<const std::string> text) {
  const auto found = std::ranges::find(utterance.side, name, &SideText::name);
  if (found == utterance.side.end()) {
    utterance.side.push_back({std::string(name), std::move(text)});
  } else {
    found->text = std::move(text);
  }
}

bool join_side_texts(const std::string& name, const std::string& path, std::vector<Corpus>& corpora,
                     std::vector<std::vector<SplitLedger>>& ledgers, Ledger& ledger) {
  SideEntries entries = read_entries(path);
  for (std::size_t c = 0; c < corpora.size(); ++c) {
    for (std::size_t s = 0; s < corpora[c].splits.size(); ++s) {
      CorpusSplit& split = corpora[c].splits[s];
      for (Dialogue& dialogue : split.dialogues) {
        for (Utterance& utterance : dialogue.utterances)
          join_entries(entries, name, corpora[c].name, split.name, dialogue, utterance, ledgers[c][s]);
      }
    }
  }
  std::int64_t texts = 0, unfit = 0;
  bool of_speakers = false;
  for (const auto& [key, same] : entries) {
    texts += std::ssize(same);
    unfit += std::ranges::count(same, false, &SideEntry::fits);
    of_speakers = of_speakers || !key.speaker.empty();
  }
  ledger.notes["texts for {" + name + "} that fit no utterance"] = unfit;
  const CorpusSplit& first = corpora[0].splits[0];
  const Utterance& line = first.dialogues[0].utterances[0];
  require<DataError>(unfit < texts, path, ": none of its ", texts,
                     " texts speaks of an utterance of the corpus; the ids must be those of the corpus, for "
                     "example dialogue ",
                     first.dialogues[0].id, ", utterance ", line.id, ", speaker ", line.speaker, " in ",
                     first.name);
  return of_speakers;
}

bool count_lines_without(const std::string& name, const std::vector<Corpus>& corpora,
                         std::vector<std::vector<SplitLedger>>& ledgers) {
  std::vector<std::pair<SplitLedger*, std::int64_t>> counts;
  std::int64_t with = 0;
  for (std::size_t c = 0; c < corpora.size(); ++c) {
    for (std::size_t s = 0; s < corpora[c].splits.size(); ++s) {
      std::int64_t without = 0;
      for (const Dialogue& dialogue : corpora[c].splits[s].dialogues) {
        for (const Utterance& utterance : dialogue.utterances)
          ++(side_text(utterance, name) == nullptr ? without : with);
      }
      counts.emplace_back(&ledgers[c][s], without);
    }
  }
  if (with == 0) return false;
  for (const auto& [ledger, without] : counts) ledger->notes["utterances without {" + name + "}"] = without;
  return true;
}

}  // namespace chorus
