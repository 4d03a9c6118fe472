#include "launch/commands/evaluation_report.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"

namespace chorus {
namespace {

std::string line(const std::string& name, const Scores& scores) {
  return fmt::format("{:<28}{:>12.2f}{:>12.2f}{:>12.2f}{:>12}\n", name, 100 * scores.weighted_f1(),
                     100 * scores.accuracy(), 100 * scores.macro_f1(), scores.count());
}

}  // namespace

EvaluationReport::EvaluationReport(const DataSplit& split, std::span<const AnsweredSplit> answers,
                                   const std::string& exclude) {
  if (!split.has_gold()) {
    for (const auto& [name, evaluation] : answers) predicted_.push_back({name, predicted_counts(evaluation)});
    return;
  }
  if (!exclude.empty()) exclusion_.emplace(exclude);
  std::vector<std::int32_t> corpus_of;
  std::vector<bool> all, kept;
  split.for_each_utterance([&](const UtteranceReference& utterance) {
    corpus_of.push_back(utterance.corpus);
    all.push_back(true);
    kept.push_back(!exclusion_ || !exclusion_->excludes(key_of(split.origin(), utterance)));
  });
  majority_ = majority_baseline(split.utterance_labels());
  entries_ = score(answers, split, corpus_of, all);
  if (!exclusion_) return;
  require<DataError>(exclusion_->remaining() > 0, "--exclude ", exclude,
                     " lists all utterances of the split");
  remaining_ = score(answers, split, corpus_of, kept);
}

std::vector<EvaluationReport::Entry> EvaluationReport::score(std::span<const AnsweredSplit> answers,
                                                             const DataSplit& split,
                                                             std::span<const std::int32_t> corpus_of,
                                                             const std::vector<bool>& kept) {
  std::vector<Entry> entries;
  for (const auto& [name, evaluation] : answers) {
    std::vector<Prediction> predictions;
    std::vector<std::int32_t> corpora;
    for (std::size_t u = 0; u < kept.size(); ++u) {
      if (!kept[u]) continue;
      predictions.push_back(evaluation.predictions[u]);
      corpora.push_back(corpus_of[u]);
    }
    std::vector<CorpusScores> by_corpus =
        scores_by_corpus(split.origin().corpora, corpora, evaluation.labels, predictions);
    if (by_corpus.size() < 2) by_corpus.clear();
    entries.push_back({name, Scores(evaluation.labels, predictions), std::move(by_corpus)});
  }
  return entries;
}

std::string EvaluationReport::lines(const std::vector<Entry>& entries) {
  std::string text;
  for (const Entry& entry : entries) {
    text += line(entry.name, entry.all);
    for (const auto& [corpus, scores] : entry.corpora) text += line("  " + corpus, scores);
  }
  return text;
}

std::string EvaluationReport::to_text() const {
  if (!predicted_.empty()) {
    std::string text = "there are no gold labels, so nothing is scored; predicted are\n";
    for (const auto& [name, labels] : predicted_) {
      text += name + ":\n";
      for (const auto& [label, count] : labels) text += fmt::format("  {:<26}{:>12}\n", label, count);
    }
    return text;
  }
  std::string text = fmt::format("{:<28}{:>12}{:>12}{:>12}{:>12}\n", "", "weighted F1", "accuracy",
                                 "macro F1", "utterances");
  text += fmt::format("{:<28}{:>12.2f}\n", "majority label", 100 * majority_);
  text += lines(entries_);
  if (!remaining_.empty()) text += exclusion_->describe() + "\n" + lines(remaining_);
  return text + fmt::format("\n{}:\n{}", entries_.back().name, entries_.back().all.to_table());
}

nlohmann::ordered_json EvaluationReport::entry_json(const Entry& entry) {
  nlohmann::ordered_json json = entry.all.to_json();
  for (const auto& [corpus, scores] : entry.corpora) json["corpora"][corpus] = scores.to_json();
  return json;
}

nlohmann::ordered_json EvaluationReport::to_json() const {
  if (!predicted_.empty()) {
    nlohmann::ordered_json json;
    for (const auto& [name, labels] : predicted_) {
      for (const auto& [label, count] : labels) json["predicted"][name][label] = count;
    }
    return json;
  }
  nlohmann::ordered_json json{{"majority_weighted_f1", majority_}};
  if (!remaining_.empty()) json["excluded"] = exclusion_->to_json();
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    nlohmann::ordered_json& result = json["results"][entries_[i].name] = entry_json(entries_[i]);
    if (!remaining_.empty()) result["without_excluded"] = entry_json(remaining_[i]);
  }
  return json;
}

}  // namespace chorus
