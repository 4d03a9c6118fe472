#include "launch/commands/evaluation_report.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"

namespace chorus {
namespace {

double majority_of(const std::vector<std::string>& labels, std::span<const AnsweredUtterance> utterances) {
  std::vector<std::int32_t> gold;
  for (const AnsweredUtterance& utterance : utterances) {
    const auto found = std::ranges::find(labels, utterance.gold);
    gold.push_back(static_cast<std::int32_t>(found - labels.begin()));
  }
  return majority_baseline(gold);
}

bool has_gold(const AnsweredSplit& answers) {
  return std::ranges::any_of(answers.utterances,
                             [](const AnsweredUtterance& utterance) { return !utterance.gold.empty(); });
}

std::string line(const std::string& name, const Scores& scores) {
  return fmt::format("{:<28}{:>12.2f}{:>12.2f}{:>12.2f}{:>12}\n", name, 100 * scores.weighted_f1(),
                     100 * scores.accuracy(), 100 * scores.macro_f1(), scores.count());
}

}  // namespace

EvaluationReport::EvaluationReport(std::vector<std::string> labels, std::vector<AnsweredSplit> answers,
                                   const std::string& exclude)
    : exclude_(exclude) {
  if (!has_gold(answers.at(0))) {
    for (const auto& [name, utterances] : answers)
      predicted_.push_back({name, predicted_counts(utterances, labels)});
    return;
  }
  majority_ = majority_of(labels, answers[0].utterances);
  entries_ = score(labels, answers);
  if (exclude.empty()) return;
  const std::set<UtteranceKey> keys = read_utterance_keys(exclude);
  for (AnsweredSplit& answered : answers) {
    remainder_ = without(answered.utterances, keys);
    answered.utterances = remainder_.utterances;
  }
  require<DataError>(!remainder_.utterances.empty(), "--exclude ", exclude,
                     " lists all utterances of the split");
  remaining_ = score(labels, answers);
}

std::vector<EvaluationReport::Entry> EvaluationReport::score(const std::vector<std::string>& labels,
                                                             const std::vector<AnsweredSplit>& answers) {
  std::vector<Entry> entries;
  for (const auto& [name, utterances] : answers) {
    std::vector<CorpusScores> corpora = scores_by_corpus(utterances);
    if (corpora.size() < 2) corpora.clear();
    entries.push_back({name, scores_of(utterances, labels), std::move(corpora)});
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
  if (!remaining_.empty()) text += describe_exclusion(exclude_, remainder_) + "\n" + lines(remaining_);
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
  if (!remaining_.empty()) {
    json["excluded"] = {
        {"file", exclude_}, {"removed", remainder_.removed}, {"unmatched", remainder_.unmatched}};
  }
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    nlohmann::ordered_json& result = json["results"][entries_[i].name] = entry_json(entries_[i]);
    if (!remaining_.empty()) result["without_excluded"] = entry_json(remaining_[i]);
  }
  return json;
}

}  // namespace chorus
