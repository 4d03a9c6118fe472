#include "core/scoring/predictions.h"

#include <algorithm>
#include <map>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "data/text/files.h"
#include "data/text/json.h"
#include "ops/base/index.h"

namespace chorus {
namespace {

using Json = nlohmann::ordered_json;

const std::vector<std::string> known_fields{"corpus", "split",     "dialogue", "utterance", "speaker", "text",
                                            "gold",   "predicted", "scores",   "answer",    "found"};

UtteranceKey parse_key(const OrderedJsonFields& line) {
  return {line.required_text("corpus"), line.required_text("split"), line.required_text("dialogue"),
          line.required_text("utterance")};
}

std::vector<std::pair<std::string, double>> parse_scores(const OrderedJsonFields& line) {
  std::vector<std::pair<std::string, double>> scores;
  if (!line.has("scores")) return scores;
  const Json& value = line["scores"];
  require<DataError>(value.is_object(), line.where(), ": field 'scores' must be an object, is ",
                     value.type_name());
  for (const auto& [label, score] : value.items()) {
    require<DataError>(score.is_number(), line.where(), ": the score of '", label, "' must be a number, is ",
                       score.dump());
    scores.emplace_back(label, score.get<double>());
  }
  return scores;
}

AnsweredUtterance parse(const Json& object, const std::string& where) {
  const OrderedJsonFields line(object, where, known_fields);
  AnsweredUtterance out;
  out.key = parse_key(line);
  out.speaker = line.text("speaker").value_or("");
  out.text = line.text("text").value_or("");
  require<DataError>(
      line.has("gold"), where,
      ": field 'gold' is missing: what was predicted for dialogues without labels has no score");
  out.gold = line.filled_text("gold");
  // Null stands for an answer without a label; the field itself must be there.
  out.predicted =
      object.contains("predicted") ? line.text("predicted").value_or("") : line.required_text("predicted");
  out.scores = parse_scores(line);
  out.answer = line.text("answer");
  out.found = line.boolean("found").value_or(!out.predicted.empty());
  return out;
}

}  // namespace

std::vector<AnsweredUtterance> answered_utterances(const Evaluation& evaluation, const Dataset& dataset) {
  require(evaluation.predictions.size() == dataset.utterances.size(), evaluation.predictions.size(),
          " predictions for ", dataset.utterances.size(), " utterances");
  const auto label = [&](std::int32_t index) { return dataset.origin.labels[at(index)]; };
  std::vector<AnsweredUtterance> out;
  for (std::size_t u = 0; u < dataset.utterances.size(); ++u) {
    const UtteranceReference& utterance = dataset.utterances[u];
    const Prediction& prediction = evaluation.predictions[u];
    out.push_back({.key = key_of(dataset, static_cast<std::int64_t>(u)),
                   .speaker = utterance.speaker,
                   .text = utterance.text,
                   .gold = prediction.gold < 0 ? "" : label(prediction.gold),
                   .predicted = prediction.predicted == no_label ? "" : label(prediction.predicted),
                   .scores = {},
                   .answer = std::nullopt,
                   .found = prediction.found});
    if (!evaluation.answers.empty()) out.back().answer = evaluation.answers[u];
  }
  for (std::size_t i = 0; i < evaluation.sample_scores.size(); ++i) {
    const Sample& sample = dataset.samples[i];
    out[at(sample.utterance)].scores.emplace_back(label(sample.answer), evaluation.sample_scores[i]);
  }
  return out;
}

std::string to_json_lines(std::span<const AnsweredUtterance> utterances) {
  std::string text;
  for (const AnsweredUtterance& utterance : utterances) {
    Json line{{"corpus", utterance.key.corpus},     {"split", utterance.key.split},
              {"dialogue", utterance.key.dialogue}, {"utterance", utterance.key.utterance},
              {"speaker", utterance.speaker},       {"text", utterance.text}};
    if (!utterance.gold.empty()) line["gold"] = utterance.gold;
    line["predicted"] = utterance.predicted.empty() ? Json(nullptr) : Json(utterance.predicted);
    for (const auto& [label, score] : utterance.scores) line["scores"][label] = score;
    if (utterance.answer) {
      line["answer"] = *utterance.answer;
      line["found"] = utterance.found;
    }
    // A generated answer may end in the middle of a character.
    text += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  return text;
}

void write_predictions(const std::filesystem::path& path, std::span<const AnsweredUtterance> utterances) {
  require<ConfigurationError>(!std::filesystem::exists(path), "the predictions ", path.string(),
                              " exist already, and nothing is ever overwritten; name another file");
  write_file_atomically(path, to_json_lines(utterances));
}

std::vector<AnsweredUtterance> read_predictions(const std::filesystem::path& path) {
  std::vector<AnsweredUtterance> out;
  std::set<UtteranceKey> seen;
  for_each_json_line(path, [&](const Json& object, const std::string& where) {
    out.push_back(parse(object, where));
    require<DataError>(seen.insert(out.back().key).second, where, ": ", describe(out.back().key),
                       " stands there twice");
  });
  require<DataError>(!out.empty(), path.string(), " holds no predictions");
  return out;
}

std::vector<std::pair<std::string, std::int64_t>> predicted_counts(
    std::span<const AnsweredUtterance> utterances, std::span<const std::string> labels) {
  std::vector<std::pair<std::string, std::int64_t>> counts;
  for (const std::string& label : labels) {
    counts.emplace_back(label, std::ranges::count(utterances, label, &AnsweredUtterance::predicted));
  }
  const auto none = std::ranges::count(utterances, "", &AnsweredUtterance::predicted);
  if (none > 0) counts.emplace_back("(no label)", none);
  return counts;
}

std::vector<std::string> labels_of(std::span<const AnsweredUtterance> utterances) {
  std::vector<std::string> labels;
  std::set<std::string> seen, others;
  for (const AnsweredUtterance& utterance : utterances) {
    for (const auto& [label, score] : utterance.scores) {
      if (seen.insert(label).second) labels.push_back(label);
    }
  }
  for (const AnsweredUtterance& utterance : utterances) {
    for (const std::string& label : {utterance.gold, utterance.predicted}) {
      if (!label.empty() && !seen.contains(label)) others.insert(label);
    }
  }
  labels.insert(labels.end(), others.begin(), others.end());
  return labels;
}

Scores scores_of(std::span<const AnsweredUtterance> utterances, std::vector<std::string> labels) {
  std::map<std::string, std::int32_t> index;
  for (const std::string& label : labels) index.emplace(label, static_cast<std::int32_t>(index.size()));
  std::vector<Prediction> predictions;
  index.emplace("", no_label);
  for (const AnsweredUtterance& utterance : utterances) {
    for (const std::string& label : {utterance.gold, utterance.predicted}) {
      require(index.contains(label), "'", label, "' is none of the labels to score");
    }
    predictions.push_back({index.at(utterance.gold), index.at(utterance.predicted), utterance.found});
  }
  return {std::move(labels), predictions};
}

std::vector<CorpusScores> scores_by_corpus(std::span<const AnsweredUtterance> utterances) {
  std::vector<std::string> corpora;
  std::map<std::string, std::vector<AnsweredUtterance>> parts;
  for (const AnsweredUtterance& utterance : utterances) {
    std::vector<AnsweredUtterance>& part = parts[utterance.key.corpus];
    if (part.empty()) corpora.push_back(utterance.key.corpus);
    part.push_back(utterance);
  }
  const std::vector<std::string> order = labels_of(utterances);
  std::vector<CorpusScores> out;
  for (const std::string& corpus : corpora) {
    std::set<std::string> present;
    for (const AnsweredUtterance& utterance : parts.at(corpus)) {
      present.insert(utterance.gold);
      present.insert(utterance.predicted);
    }
    std::vector<std::string> labels;
    std::ranges::copy_if(order, std::back_inserter(labels),
                         [&](const std::string& label) { return present.contains(label); });
    out.push_back({corpus, scores_of(parts.at(corpus), std::move(labels))});
  }
  return out;
}

std::set<UtteranceKey> read_utterance_keys(const std::filesystem::path& path) {
  std::set<UtteranceKey> keys;
  for_each_json_line(path, [&](const Json& object, const std::string& where) {
    keys.insert(parse_key({object, where}));
  });
  return keys;
}

Remainder without(std::span<const AnsweredUtterance> utterances, const std::set<UtteranceKey>& excluded) {
  Remainder out;
  std::set<std::pair<std::string, std::string>> splits;
  for (const AnsweredUtterance& utterance : utterances) {
    splits.emplace(utterance.key.corpus, utterance.key.split);
    if (excluded.contains(utterance.key)) {
      ++out.removed;
    } else {
      out.utterances.push_back(utterance);
    }
  }
  const std::int64_t meant = std::ranges::count_if(excluded, [&](const UtteranceKey& key) {
    return splits.contains({key.corpus, key.split});
  });
  out.unmatched = meant - out.removed;
  return out;
}

std::string describe_exclusion(const std::string& file, const Remainder& remainder) {
  std::string text = fmt::format("without the {} utterances that {} lists, {} remain", remainder.removed,
                                 file, remainder.utterances.size());
  if (remainder.unmatched > 0) {
    text += fmt::format("; {} more that it lists of these corpora and this split are not there",
                        remainder.unmatched);
  }
  return text;
}

}  // namespace chorus
