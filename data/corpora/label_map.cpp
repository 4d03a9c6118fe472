#include "data/corpora/label_map.h"

#include <algorithm>

#include "data/text/json.h"
#include "data/text/text.h"
#include "data/text/text_file.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

using Json = nlohmann::json;

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

LabelMap::Entry parse_entry(const Json& json, const std::vector<std::string>& labels,
                            const std::string& origin) {
  const JsonFields fields(json, origin, {"labels", "first_speaker"});
  LabelMap::Entry entry;
  if (fields.has("first_speaker")) {
    const Json& number = fields.get("first_speaker");
    require<DataError>(number.is_number_integer() && number.get<std::int64_t>() >= 0, origin,
                       ": field 'first_speaker' must be a number from 0, is ", number.dump());
    entry.first_speaker = number.get<std::int64_t>();
  }
  const Json& map = fields.get("labels");
  require<DataError>(map.is_object(), origin, ": field 'labels' must be an object, is ", map.type_name());
  for (const auto& [from, to] : map.items()) {
    require<DataError>(to.is_null() || to.is_string(), origin, ": '", from, "' becomes ", to.dump(),
                       ", which is neither a label nor null");
    if (to.is_null()) {
      entry.labels[from] = std::nullopt;
      continue;
    }
    const std::string label = to.get<std::string>();
    require<DataError>(contains(labels, label), origin, ": '", from, "' becomes '", label,
                       "', which is none of the labels; did you mean '", nearest(label, labels), "'?");
    entry.labels[from] = label;
  }
  return entry;
}

}  // namespace

LabelMap LabelMap::load(const std::string& path) {
  const Json json = parse_json(read_text_file(path), path);
  const JsonFields fields(json, path, {"name", "description", "labels", "corpora"});
  LabelMap map;
  map.path = path;
  map.name = fields.required_text("name");
  map.labels = parse_names(fields.get("labels"), path + ": field 'labels'");
  const Json& corpora = fields.get("corpora");
  require<DataError>(corpora.is_object(), path, ": field 'corpora' must be an object, is ",
                     corpora.type_name());
  for (const auto& [corpus, entry] : corpora.items()) {
    map.corpora[corpus] = parse_entry(entry, map.labels, path + ": corpus " + corpus);
  }
  return map;
}

void LabelMap::apply(Corpus& corpus) const {
  const auto found = corpora.find(corpus.name);
  require<DataError>(found != corpora.end(), path, ": does not say what the labels of ", corpus.name,
                     " become");
  const auto& renamed = found->second.labels;
  for (const auto& [from, to] : renamed) {
    require<DataError>(contains(corpus.labels, from), path, ": ", corpus.name, " has no label '", from,
                       "', its labels are ", joined(corpus.labels, ", "));
  }
  for (const std::string& label : corpus.labels) {
    require<DataError>(renamed.contains(label), path, ": does not say what the label '", label, "' of ",
                       corpus.name, " becomes; null leaves its lines as context only");
  }
  for (CorpusSplit& split : corpus.splits) {
    for (Dialogue& dialogue : split.dialogues) {
      for (Utterance& utterance : dialogue.utterances) {
        if (!utterance.label.empty()) utterance.label = renamed.at(utterance.label).value_or("");
      }
    }
  }
  corpus.labels = labels;
}

std::int64_t LabelMap::first_speaker(const std::string& corpus) const {
  const auto found = corpora.find(corpus);
  return found == corpora.end() ? 0 : found->second.first_speaker;
}

}  // namespace chorus
