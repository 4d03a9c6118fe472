#include "data/corpora/leakage.h"

#include <algorithm>
#include <unordered_set>

#include <nlohmann/json.hpp>

#include "data/text/table.h"
#include "data/text/text.h"
#include "data/text/utf8.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

constexpr std::string_view test_split = "test";

// What one character becomes.
std::string comparable_character(std::string_view character) {
  if (character.size() == 1) {
    const char c = character[0];
    if (c >= 'A' && c <= 'Z') return std::string(1, static_cast<char>(c - 'A' + 'a'));
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '\'') return std::string(1, c);
    return c == '-' || c == ' ' || (c >= '\t' && c <= '\r') ? " " : "";
  }
  if (character == "‘" || character == "’") return "'";
  if (character == "\u00A0") return " ";
  // Latin-1's punctuation, U+0080 to U+00BF, and the block General Punctuation, U+2000 to U+206F.
  const bool is_punctuation =
      character[0] == '\xC2' || character.starts_with("\xE2\x80") ||
      (character.size() == 3 && character.starts_with("\xE2\x81") && character[2] < '\xB0');
  return is_punctuation ? "" : std::string(character);
}

std::int64_t words_in(const std::string& comparable) {
  return comparable.empty() ? 0 : 1 + std::count(comparable.begin(), comparable.end(), ' ');
}

const CorpusSplit& test_of(const Corpus& corpus) {
  const auto found = std::find_if(corpus.splits.begin(), corpus.splits.end(),
                                  [](const CorpusSplit& split) { return split.name == test_split; });
  require<DataError>(found != corpus.splits.end(), "the corpus ", corpus.name, " has no ", test_split,
                     " split, whose utterances are looked for in the other one");
  return *found;
}

std::unordered_set<std::string> comparable_texts(const CorpusSplit& split) {
  std::unordered_set<std::string> texts;
  for (const Dialogue& dialogue : split.dialogues) {
    for (const Utterance& utterance : dialogue.utterances) texts.insert(comparable_text(utterance.text));
  }
  return texts;
}

}  // namespace

std::string comparable_text(std::string_view text) {
  std::string comparable;
  for (std::size_t i = 0; i < text.size();) {
    const std::string_view character = text.substr(i, character_length(text[i]));
    i += character.size();
    const std::string part = comparable_character(character);
    if (part == " " && (comparable.empty() || comparable.back() == ' ')) continue;
    comparable += part;
  }
  if (comparable.ends_with(' ')) comparable.pop_back();
  return comparable;
}

LeakageReport find_leakage(const Corpus& corpus, const Corpus& other, std::int64_t words) {
  LeakageReport report{corpus.name, other.name, 0, 0, {}, {}};
  std::vector<std::unordered_set<std::string>> known;
  for (const CorpusSplit& split : other.splits) {
    known.push_back(comparable_texts(split));
    report.found_in.emplace_back(split.name, 0);
  }
  for (const Dialogue& dialogue : test_of(corpus).dialogues) {
    for (const Utterance& utterance : dialogue.utterances) {
      ++report.utterances;
      const std::string text = comparable_text(utterance.text);
      if (words_in(text) < words) continue;
      ++report.compared;
      LeakedUtterance leaked{corpus.name,  std::string(test_split), dialogue.id,
                             utterance.id, utterance.text,          {}};
      for (std::size_t i = 0; i < known.size(); ++i) {
        if (!known[i].contains(text)) continue;
        ++report.found_in[i].second;
        leaked.found_in.push_back(other.name + "/" + other.splits[i].name);
      }
      if (!leaked.found_in.empty()) report.leaked.push_back(std::move(leaked));
    }
  }
  return report;
}

std::string to_table(const std::vector<LeakageReport>& reports) {
  std::string text;
  for (const LeakageReport& report : reports) {
    std::vector<TableRow> rows;
    const auto found = [&](const std::string& where, std::int64_t count) {
      rows.push_back({"  in " + where, {grouped(count), percent(count, report.compared)}});
    };
    for (const auto& [split, count] : report.found_in) found(report.other + "/" + split, count);
    found("any of them", std::ssize(report.leaked));
    text += fmt::format("{}/{}: {} of {} utterances are long enough to compare\n", report.corpus, test_split,
                        grouped(report.compared), grouped(report.utterances));
    text += aligned(rows);
  }
  return text;
}

std::string to_json_lines(const std::vector<LeakageReport>& reports) {
  std::string lines;
  for (const LeakageReport& report : reports) {
    for (const LeakedUtterance& leaked : report.leaked) {
      const nlohmann::ordered_json line{
          {"corpus", leaked.corpus},     {"split", leaked.split},
          {"dialogue", leaked.dialogue}, {"utterance", leaked.utterance},
          {"text", leaked.text},         {"found_in", joined(leaked.found_in, ", ")}};
      lines += line.dump() + "\n";
    }
  }
  return lines;
}

}  // namespace chorus
