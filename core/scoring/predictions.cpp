#include "core/scoring/predictions.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

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

std::string to_json_line(const AnsweredUtterance& utterance) {
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
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void require_new(const std::filesystem::path& path) {
  require<ConfigurationError>(!std::filesystem::exists(path), "the predictions ", path.string(),
                              " exist already, and nothing is ever overwritten; name another file");
}

// What is predicted, as indices of other labels, among which the gold and predicted ones are.
std::vector<Prediction> relabelled(std::span<const Prediction> predictions,
                                   const std::vector<std::string>& from, const std::vector<std::string>& to) {
  std::vector<std::int32_t> index;
  for (const std::string& label : from)
    index.push_back(static_cast<std::int32_t>(std::ranges::find(to, label) - to.begin()));
  std::vector<Prediction> out(predictions.begin(), predictions.end());
  for (Prediction& prediction : out) {
    for (std::int32_t* label : {&prediction.gold, &prediction.predicted})
      if (*label >= 0) *label = index[at(*label)];
  }
  return out;
}

// Gold and predicted labels as indices of `labels`. Throws Error for one that is none of them.
std::vector<Prediction> predictions_of(std::span<const AnsweredUtterance> utterances,
                                       const std::vector<std::string>& labels) {
  std::map<std::string, std::int32_t> index;
  for (const std::string& label : labels) index.emplace(label, static_cast<std::int32_t>(index.size()));
  index.emplace("", no_label);
  std::vector<Prediction> predictions;
  for (const AnsweredUtterance& utterance : utterances) {
    for (const std::string& label : {utterance.gold, utterance.predicted})
      require(index.contains(label), "'", label, "' is none of the labels to score");
    predictions.push_back({index.at(utterance.gold), index.at(utterance.predicted), utterance.found});
  }
  return predictions;
}

}  // namespace

void for_each_answered(const Evaluation& evaluation, const DataSplit& split,
                       const std::function<void(AnsweredUtterance&&)>& use) {
  require(std::ssize(evaluation.predictions) == split.utterances(), evaluation.predictions.size(),
          " predictions for ", split.utterances(), " utterances");
  const auto label = [&](std::int32_t index) { return index < 0 ? "" : evaluation.labels[at(index)]; };
  std::size_t u = 0;
  split.for_each_utterance([&](const UtteranceReference& utterance) {
    const Prediction& prediction = evaluation.predictions[u];
    AnsweredUtterance answered{.key = key_of(split.origin(), utterance),
                               .speaker = utterance.speaker,
                               .text = utterance.text,
                               .gold = label(prediction.gold),
                               .predicted = label(prediction.predicted),
                               .scores = {},
                               .answer = std::nullopt,
                               .found = prediction.found};
    const std::size_t labels = evaluation.labels.size();
    for (std::size_t i = 0; i < labels && !evaluation.label_scores.empty(); ++i)
      answered.scores.emplace_back(evaluation.labels[i], evaluation.label_scores[u * labels + i]);
    if (!evaluation.answers.empty()) answered.answer = evaluation.answers[u];
    ++u;
    use(std::move(answered));
  });
}

std::string to_json_lines(std::span<const AnsweredUtterance> utterances) {
  std::string text;
  for (const AnsweredUtterance& utterance : utterances) text += to_json_line(utterance);
  return text;
}

void write_predictions(const std::filesystem::path& path, std::span<const AnsweredUtterance> utterances) {
  require_new(path);
  write_file_atomically(path, to_json_lines(utterances));
}

void write_predictions(const std::filesystem::path& path, const Evaluation& evaluation,
                       const DataSplit& split) {
  constexpr std::size_t written_at_once = 1 << 20;
  require_new(path);
  AtomicFile file(path, 0);
  std::string text;
  const auto write = [&] {
    file.write(std::as_bytes(std::span(text)));
    text.clear();
  };
  for_each_answered(evaluation, split, [&](AnsweredUtterance&& utterance) {
    text += to_json_line(utterance);
    if (text.size() >= written_at_once) write();
  });
  write();
  file.publish();
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

std::vector<std::pair<std::string, std::int64_t>> predicted_counts(const Evaluation& evaluation) {
  std::vector<std::pair<std::string, std::int64_t>> counts;
  const auto count = [&](std::int32_t label) {
    return std::ranges::count(evaluation.predictions, label, &Prediction::predicted);
  };
  for (std::size_t i = 0; i < evaluation.labels.size(); ++i)
    counts.emplace_back(evaluation.labels[i], count(static_cast<std::int32_t>(i)));
  if (const auto none = count(no_label); none > 0) counts.emplace_back("(no label)", none);
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
  const std::vector<Prediction> predictions = predictions_of(utterances, labels);
  return {std::move(labels), predictions};
}

std::vector<CorpusScores> scores_by_corpus(std::span<const AnsweredUtterance> utterances) {
  std::vector<std::string> corpora;
  std::vector<std::int32_t> corpus_of;
  for (const AnsweredUtterance& utterance : utterances) {
    const auto corpus = std::ranges::find(corpora, utterance.key.corpus);
    corpus_of.push_back(static_cast<std::int32_t>(corpus - corpora.begin()));
    if (corpus == corpora.end()) corpora.push_back(utterance.key.corpus);
  }
  const std::vector<std::string> labels = labels_of(utterances);
  return scores_by_corpus(corpora, corpus_of, labels, predictions_of(utterances, labels));
}

std::vector<CorpusScores> scores_by_corpus(const std::vector<std::string>& corpora,
                                           std::span<const std::int32_t> corpus_of,
                                           const std::vector<std::string>& labels,
                                           std::span<const Prediction> predictions) {
  std::vector<std::int32_t> order;
  std::vector<std::vector<Prediction>> parts(corpora.size());
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    std::vector<Prediction>& part = parts[at(corpus_of[i])];
    if (part.empty()) order.push_back(corpus_of[i]);
    part.push_back(predictions[i]);
  }
  std::vector<CorpusScores> out;
  for (const std::int32_t corpus : order) {
    const std::vector<Prediction>& part = parts[at(corpus)];
    std::set<std::int32_t> present;
    for (const Prediction& prediction : part) present.insert({prediction.gold, prediction.predicted});
    std::vector<std::string> occurring;
    for (const std::int32_t label : present)
      if (label >= 0) occurring.push_back(labels[at(label)]);
    out.push_back({corpora[at(corpus)], Scores(occurring, relabelled(part, labels, occurring))});
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

bool Exclusion::excludes(const UtteranceKey& key) {
  splits_.emplace(key.corpus, key.split);
  const bool excluded = keys_.contains(key);
  ++(excluded ? removed_ : remaining_);
  return excluded;
}

std::int64_t Exclusion::unmatched() const {
  const std::int64_t meant = std::ranges::count_if(keys_, [&](const UtteranceKey& key) {
    return splits_.contains({key.corpus, key.split});
  });
  return meant - removed_;
}

nlohmann::ordered_json Exclusion::to_json() const {
  return {{"file", file_.string()}, {"removed", removed_}, {"unmatched", unmatched()}};
}

std::string Exclusion::describe() const {
  std::string text =
      fmt::format("without the {} utterances that {} lists, {} remain", removed_, file_.string(), remaining_);
  if (unmatched() > 0)
    text += fmt::format("; {} more that it lists of these corpora and this split are not there", unmatched());
  return text;
}

}  // namespace chorus
