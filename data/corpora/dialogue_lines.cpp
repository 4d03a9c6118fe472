#include "data/corpora/dialogue_lines.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "data/corpora/rows.h"
#include "data/corpora/side_texts.h"
#include "data/corpora/split_files.h"
#include "data/text/json.h"
#include "data/text/text.h"
#include "data/text/text_file.h"

namespace chorus {

namespace {

using Json = nlohmann::json;

// Not JsonFields: what is wrong with a line has a kind, for the ledger of what was skipped.
void check_fields(const Json& object, const std::vector<std::string>& known, const std::string& what,
                  const RowPlace& place) {
  require_row(object.is_object(), place, "no object", what + " must be a JSON object");
  for (const auto& [name, value] : object.items()) {
    if (value.is_null()) continue;  // not there
    const bool is_known = std::find(known.begin(), known.end(), name) != known.end();
    require_row(is_known, place, "unknown field",
                fmt::format("'{}' of {}; did you mean '{}'?", name, what, nearest(name, known)));
  }
}

// Null if there is none.
const Json* text_field(const Json& object, const char* name, const std::string& what, const RowPlace& place) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return nullptr;
  require_row(
      found->is_string() && !is_blank(found->get_ref<const std::string&>()), place, "bad field",
      fmt::format("'{}' of {} must be a text that is not blank; it is {}", name, what, found->dump()));
  return &*found;
}

std::string required_text(const Json& object, const char* name, const std::string& what,
                          const RowPlace& place) {
  const Json* text = text_field(object, name, what, place);
  require_row(text != nullptr, place, "missing field", fmt::format("{} has no '{}'", what, name));
  return text->get<std::string>();
}

void set_side_text(Utterance& utterance, const std::string& name, const Json& text) {
  set_side_text(utterance, name, std::make_shared<const std::string>(text.get<std::string>()));
}

void parse_side_texts(const Json& object, const std::string& what, const RowPlace& place,
                      Utterance& utterance) {
  if (const Json* caption = text_field(object, "caption", what, place))
    set_side_text(utterance, "caption", *caption);
  const auto side = object.find("side");
  if (side == object.end() || side->is_null()) return;
  require_row(side->is_object(), place, "bad field",
              fmt::format("'side' of {} must be an object of texts; it is {}", what, side->dump()));
  for (const auto& [name, value] : side->items()) {
    if (value.is_null()) continue;
    require_row(is_side_name(name), place, "bad field",
                fmt::format("'{}' in 'side' of {}: {}", name, what, side_name_rule));
    const Json* text = text_field(*side, name.c_str(), "'side' of " + what, place);
    require_row(side_text(utterance, name) == nullptr, place, "bad field",
                fmt::format("{} has 'caption', and another in 'side'", what));
    set_side_text(utterance, name, *text);
  }
}

Utterance parse_utterance(const Json& object, std::size_t position, const RowPlace& place) {
  static const std::vector<std::string> fields{"id", "speaker", "text", "label", "caption", "side"};
  const std::string what = fmt::format("utterance {}", position);
  check_fields(object, fields, what, place);
  const auto text_or = [&](const char* name, const std::string& otherwise) {
    const Json* text = text_field(object, name, what, place);
    return text == nullptr ? otherwise : text->get<std::string>();
  };
  Utterance utterance;
  utterance.id = text_or("id", std::to_string(position));
  utterance.speaker = required_text(object, "speaker", what, place);
  utterance.text = required_text(object, "text", what, place);
  utterance.label = text_or("label", "");
  parse_side_texts(object, what, place, utterance);
  utterance.line = place.line;
  return utterance;
}

// `labels`: those allowed; none: any.
Dialogue parse_dialogue(const std::string& line, const std::vector<std::string>& labels,
                        const RowPlace& place) {
  static const std::vector<std::string> fields{"id", "utterances"};
  Json object;
  try {
    object = Json::parse(line);
  } catch (const Json::exception& error) {
    require_row(false, place, "no JSON", error.what());
  }
  require_row(!holds_zero_character(object), place, "zero character",
              "a text holds \\u0000, which no text does");
  check_fields(object, fields, "the dialogue", place);
  Dialogue dialogue{required_text(object, "id", "the dialogue", place), {}};
  const auto utterances = object.find("utterances");
  require_row(utterances != object.end() && utterances->is_array() && !utterances->empty(), place,
              "no utterances", "'utterances' must be an array with at least one element");
  std::set<std::string> ids;
  for (const Json& utterance : *utterances) {
    dialogue.utterances.push_back(parse_utterance(utterance, ids.size(), place));
    const Utterance& parsed = dialogue.utterances.back();
    require_row(ids.insert(parsed.id).second, place, "duplicate utterance",
                fmt::format("two utterances of dialogue {} have the id '{}'", dialogue.id, parsed.id));
    if (!labels.empty() && !parsed.label.empty()) require_label(parsed.label, labels, place);
  }
  return dialogue;
}

// `ids` are those of the lines above.
Dialogue parse_line(const std::string& line, const std::vector<std::string>& labels,
                    std::set<std::string>& ids, const RowPlace& place) {
  require_utf8(line, place);
  Dialogue dialogue = parse_dialogue(line, labels, place);
  require_row(ids.insert(dialogue.id).second, place, "duplicate dialogue",
              fmt::format("a line above has the id '{}' already", dialogue.id));
  return dialogue;
}

void read_split(const std::filesystem::path& path, const std::vector<std::string>& labels,
                const CorpusOptions& options, NewSplit read) {
  const std::vector<NumberedLine> lines = filled_lines(read_unchecked_text(path));
  std::set<std::string> ids;
  read_rows(options, read.ledger, [&] {
    if (read.ledger.rows_read == std::ssize(lines)) return false;
    const auto& [number, line] = lines[static_cast<std::size_t>(read.ledger.rows_read++)];
    read.split.dialogues.push_back(parse_line(line, labels, ids, {path.string(), number}));
    return true;
  });
  finish_split(read.split, read.ledger);
}

// Of labels.json; none where there is no such file.
std::vector<std::string> read_labels(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return {};
  return parse_names(parse_json(read_text_file(path), path.string()), path.string());
}

std::vector<std::string> labels_of(const Corpus& corpus) {
  std::set<std::string> labels;
  for (const CorpusSplit& split : corpus.splits) {
    for (const Dialogue& dialogue : split.dialogues) {
      for (const Utterance& utterance : dialogue.utterances) labels.insert(utterance.label);
    }
  }
  labels.erase("");
  return {labels.begin(), labels.end()};
}

}  // namespace

std::vector<Dialogue> parse_dialogue_lines(const std::string& text, const std::string& origin) {
  std::vector<Dialogue> dialogues;
  std::set<std::string> ids;
  for (const auto& [number, line] : filled_lines(text))
    dialogues.push_back(parse_line(line, {}, ids, {origin, number}));
  return dialogues;
}

Corpus read_dialogue_lines(const std::filesystem::path& folder, const CorpusOptions& options,
                           std::vector<SplitLedger>& ledgers) {
  const std::vector<std::filesystem::path> files = split_files(folder, ".jsonl");
  require<DataError>(!files.empty(), folder.string(),
                     ": has no train.jsonl, dev.jsonl, test.jsonl, nor any other .jsonl");
  Corpus corpus{"jsonl", read_labels(folder / "labels.json"), {}};
  for (const std::filesystem::path& path : files) {
    const std::string name = split_name(path.stem().string());
    require<DataError>(!name.empty() && name.find('.') == std::string::npos, path.string(), ": '", name,
                       "' cannot be the name of a split; rename the file");
    for (const CorpusSplit& other : corpus.splits) {
      require<DataError>(other.name != name, path.string(), " and ", other.file, " are both the ", name,
                         " split; keep one of them, or rename one");
    }
    read_split(path, corpus.labels, options, add_split(corpus, ledgers, name, path));
  }
  if (corpus.labels.empty()) corpus.labels = labels_of(corpus);
  require<DataError>(!corpus.labels.empty(), folder.string(),
                     ": no utterance has a 'label', and there is no labels.json to say which there are");
  return corpus;
}

}  // namespace chorus
