#include "experiments/studies/comparison.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "ops/base/random.h"

namespace chorus {
namespace {

std::vector<AnsweredUtterance> together(std::span<const AnsweredRun> runs) {
  std::vector<AnsweredUtterance> all;
  for (const AnsweredRun& run : runs) all.insert(all.end(), run.utterances.begin(), run.utterances.end());
  return all;
}

template <typename Value>
Spread spread_of(const std::vector<RunScores>& runs, Value value) {
  std::vector<double> values;
  for (const RunScores& run : runs) values.push_back(value(run.scores));
  return spread(values);
}

std::string print_percent(const Spread& spread) {
  return fmt::format("{:.2f} ± {:.2f}", 100 * spread.mean, 100 * spread.deviation);
}

std::string table_line(std::string_view name, std::size_t name_width, const Scores& scores) {
  return fmt::format("{:<{}}  {:10}  {:11.2f}  {:8.2f}  {:8.2f}\n", name, name_width, scores.count(),
                     100 * scores.weighted_f1(), 100 * scores.macro_f1(), 100 * scores.accuracy());
}

// The labels of all runs as numbers, so that a resample only counts.
struct LabelTable {
  std::size_t labels = 0;
  std::vector<std::size_t> gold;                    // [utterances]
  std::vector<std::vector<std::size_t>> predicted;  // [runs][utterances]; `labels` for none
};

LabelTable label_table(std::span<const AnsweredRun> runs, const std::vector<std::string>& labels) {
  std::map<std::string, std::size_t> index;
  for (const std::string& label : labels) index.emplace(label, index.size());
  index.emplace("", labels.size());
  LabelTable table{.labels = labels.size(), .gold = {}, .predicted = {}};
  for (const AnsweredUtterance& utterance : runs.front().utterances)
    table.gold.push_back(index.at(utterance.gold));
  for (const AnsweredRun& run : runs) {
    table.predicted.emplace_back();
    for (const AnsweredUtterance& utterance : run.utterances)
      table.predicted.back().push_back(index.at(utterance.predicted));
  }
  return table;
}

// Mean over the runs of the weighted F1 of the drawn utterances: Σ_c support_c · 2 hits_c / (support_c + predicted_c) / n.
double mean_weighted_f1(const LabelTable& table, std::span<const std::uint32_t> drawn) {
  std::vector<std::int64_t> support(table.labels), predicted(table.labels + 1), hits(table.labels);
  for (const std::uint32_t u : drawn) ++support[table.gold[u]];
  double sum = 0;
  for (const std::vector<std::size_t>& answers : table.predicted) {
    std::ranges::fill(predicted, 0);
    std::ranges::fill(hits, 0);
    for (const std::uint32_t u : drawn) {
      ++predicted[answers[u]];
      if (answers[u] == table.gold[u]) ++hits[answers[u]];
    }
    for (std::size_t c = 0; c < table.labels; ++c) {
      if (hits[c] == 0) continue;
      sum += static_cast<double>(support[c]) * static_cast<double>(2 * hits[c]) /
             static_cast<double>(support[c] + predicted[c]);
    }
  }
  return sum / static_cast<double>(table.predicted.size()) / static_cast<double>(drawn.size());
}

// The utterances of one resample: a function of seed and number. Scaling 32 random bits prefers no utterance by more
// than their number / 2^32.
void draw(std::vector<std::uint32_t>& drawn, std::uint64_t seed, std::int64_t sample) {
  constexpr std::uint32_t use = 0x626F6F74;  // another than those of RandomUse
  const std::uint64_t count = drawn.size();
  for (std::size_t i = 0; i < drawn.size(); i += 4) {
    const Philox::Counter words =
        Philox::words({static_cast<std::uint32_t>(i / 4), static_cast<std::uint32_t>(sample),
                       static_cast<std::uint32_t>(sample >> 32), use},
                      seed);
    for (std::size_t k = 0; k < 4 && i + k < drawn.size(); ++k)
      drawn[i + k] = static_cast<std::uint32_t>(words[k] * count >> 32);
  }
}

// Of sorted values, between the two nearest ones (numpy's default).
double quantile(const std::vector<double>& sorted, double share) {
  const double position = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], position - static_cast<double>(below));
}

using LabelScore = std::pair<std::string, double>;

// Adds a run's scores of an utterance to those of the first one.
void add_scores(std::map<std::string, double>& sums, const AnsweredRun& run, std::size_t utterance,
                const AnsweredRun& first) {
  const AnsweredUtterance& answered = run.utterances[utterance];
  require<DataError>(
      !answered.scores.empty(), run.name, " has no scores of ", describe(answered.key),
      ": its answers were decoded; runs are combined by the scores of evaluate --decode score");
  for (const auto& [label, score] : answered.scores) {
    require<DataError>(&run == &first || sums.contains(label), run.name, " scores the label '", label,
                       "' for ", describe(answered.key), ", and ", first.name, " does not");
    sums[label] += score;
  }
  require<DataError>(answered.scores.size() == sums.size(), run.name, " scores ", answered.scores.size(),
                     " labels for ", describe(answered.key), ", and ", first.name, " ", sums.size());
}

}  // namespace

Spread spread(std::span<const double> values) {
  if (values.empty()) return {};
  const auto count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, values.size() > 1 ? std::sqrt(squares / (count - 1)) : 0, std::ssize(values)};
}

void align(std::span<AnsweredRun> runs) {
  for (AnsweredRun& run : runs) std::ranges::sort(run.utterances, {}, &AnsweredUtterance::key);
  for (const AnsweredRun& run : runs) {
    const AnsweredRun& first = runs.front();
    const std::size_t common = std::min(first.utterances.size(), run.utterances.size());
    for (std::size_t u = 0; u < common; ++u) {
      const AnsweredUtterance &a = first.utterances[u], &b = run.utterances[u];
      const bool earlier = a.key < b.key;
      require<DataError>(a.key == b.key, "only one of ", first.name, " and ", run.name, " holds ",
                         describe(earlier ? a.key : b.key), ": ", (earlier ? first : run).name,
                         ". Runs are compared on the same utterances");
      require<DataError>(a.gold == b.gold, "the gold label of ", describe(a.key), " is ", a.gold, " in ",
                         first.name, " and ", b.gold, " in ", run.name);
    }
    const AnsweredRun& longer = first.utterances.size() > common ? first : run;
    require<DataError>(first.utterances.size() == run.utterances.size(), "only one of ", first.name, " and ",
                       run.name, " holds ",
                       describe(longer.utterances[std::min(common, longer.utterances.size() - 1)].key), ": ",
                       longer.name, ". Runs are compared on the same utterances");
  }
}

AnsweredRun combined(std::span<const AnsweredRun> runs, std::string name) {
  require(!runs.empty(), "there are no runs to combine");
  AnsweredRun out{std::move(name), runs.front().utterances};
  for (std::size_t u = 0; u < out.utterances.size(); ++u) {
    AnsweredUtterance& utterance = out.utterances[u];
    utterance.answer.reset();
    std::map<std::string, double> sums;
    for (const AnsweredRun& run : runs) add_scores(sums, run, u, runs.front());
    for (auto& [label, score] : utterance.scores) score = sums.at(label) / static_cast<double>(runs.size());
    const auto best = std::ranges::max_element(utterance.scores, {}, &LabelScore::second);
    const auto is_as_good = [&](const LabelScore& other) { return other.second == best->second; };
    utterance.found = std::ranges::count_if(utterance.scores, is_as_good) == 1;
    utterance.predicted = utterance.found ? best->first : "";
  }
  return out;
}

RunGroup score_runs(std::span<const AnsweredRun> runs) {
  require(!runs.empty(), "there are no runs to score");
  const std::vector<AnsweredUtterance> all = together(runs);
  const std::vector<std::string> labels = labels_of(all);
  RunGroup group{
      .runs = {}, .weighted_f1 = {}, .macro_f1 = {}, .accuracy = {}, .pooled = scores_of(all, labels)};
  for (const AnsweredRun& run : runs)
    group.runs.push_back({run.name, scores_of(run.utterances, labels), scores_by_corpus(run.utterances)});
  group.weighted_f1 = spread_of(group.runs, [](const Scores& scores) { return scores.weighted_f1(); });
  group.macro_f1 = spread_of(group.runs, [](const Scores& scores) { return scores.macro_f1(); });
  group.accuracy = spread_of(group.runs, [](const Scores& scores) { return scores.accuracy(); });
  return group;
}

std::string to_table(const RunGroup& group) {
  const std::string mean_title = "mean ± standard deviation";
  std::size_t name_width = mean_title.size() - 1;  // ± takes two bytes
  for (const RunScores& run : group.runs) name_width = std::max(name_width, run.name.size());
  std::string out = fmt::format("{:<{}}  utterances  weighted F1  macro F1  accuracy\n", "", name_width);
  for (const RunScores& run : group.runs) {
    out += table_line(run.name, name_width, run.scores);
    if (run.corpora.size() < 2) continue;
    for (const auto& [corpus, scores] : run.corpora) out += table_line("  " + corpus, name_width, scores);
  }
  if (group.runs.size() < 2) return out;
  out += fmt::format("{} over {} runs: weighted F1 {}, macro F1 {}, accuracy {}\n", mean_title,
                     group.runs.size(), print_percent(group.weighted_f1), print_percent(group.macro_f1),
                     print_percent(group.accuracy));
  if (group.runs.front().corpora.size() < 2) return out;
  for (std::size_t c = 0; c < group.runs.front().corpora.size(); ++c) {
    std::vector<double> values;
    for (const RunScores& run : group.runs) values.push_back(run.corpora[c].scores.weighted_f1());
    out += fmt::format("  {}: weighted F1 {}\n", group.runs.front().corpora[c].corpus,
                       print_percent(spread(values)));
  }
  return out;
}

nlohmann::ordered_json to_json(const RunGroup& group) {
  const auto of_spread = [](const Spread& spread) {
    return nlohmann::ordered_json{
        {"mean", spread.mean}, {"deviation", spread.deviation}, {"count", spread.count}};
  };
  nlohmann::ordered_json out{{"weighted_f1", of_spread(group.weighted_f1)},
                             {"macro_f1", of_spread(group.macro_f1)},
                             {"accuracy", of_spread(group.accuracy)},
                             {"pooled", group.pooled.to_json()},
                             {"runs", nlohmann::ordered_json::array()}};
  for (const RunScores& run : group.runs) {
    nlohmann::ordered_json entry{{"name", run.name}, {"scores", run.scores.to_json()}};
    for (const auto& [corpus, scores] : run.corpora) entry["corpora"][corpus] = scores.to_json();
    out["runs"].push_back(std::move(entry));
  }
  return out;
}

PairedBootstrap paired_bootstrap(std::span<const AnsweredRun> runs, std::span<const AnsweredRun> against,
                                 const BootstrapOptions& options) {
  require(!runs.empty() && !against.empty() && options.samples > 0, "a bootstrap of ", runs.size(), " and ",
          against.size(), " runs with ", options.samples, " samples");
  std::vector<AnsweredUtterance> all = together(runs);
  const std::vector<AnsweredUtterance> others = together(against);
  all.insert(all.end(), others.begin(), others.end());
  const std::vector<std::string> labels = labels_of(all);
  const LabelTable left = label_table(runs, labels), right = label_table(against, labels);
  require(left.gold == right.gold && !left.gold.empty(), "a bootstrap of runs that are not aligned");

  std::vector<std::uint32_t> drawn(left.gold.size());
  const auto difference = [&] { return mean_weighted_f1(left, drawn) - mean_weighted_f1(right, drawn); };
  std::iota(drawn.begin(), drawn.end(), 0U);
  PairedBootstrap out{.difference = difference(), .samples = options.samples};
  std::vector<double> differences;
  std::int64_t as_far = 0;
  for (std::int64_t sample = 0; sample < options.samples; ++sample) {
    draw(drawn, options.seed, sample);
    differences.push_back(difference());
    if (std::abs(differences.back() - out.difference) >= std::abs(out.difference)) ++as_far;
  }
  std::ranges::sort(differences);
  out.low = quantile(differences, 0.025);
  out.high = quantile(differences, 0.975);
  out.p_value = static_cast<double>(as_far + 1) / static_cast<double>(options.samples + 1);
  return out;
}

std::string to_text(const PairedBootstrap& comparison) {
  return fmt::format(
      "difference of mean weighted F1: {:+.2f}, 95 % interval [{:+.2f}, {:+.2f}], p = {:.4f} "
      "({} paired resamples of the utterances)\n",
      100 * comparison.difference, 100 * comparison.low, 100 * comparison.high, comparison.p_value,
      comparison.samples);
}

nlohmann::ordered_json to_json(const PairedBootstrap& comparison) {
  return {{"difference", comparison.difference},
          {"low", comparison.low},
          {"high", comparison.high},
          {"p_value", comparison.p_value},
          {"samples", comparison.samples}};
}

}  // namespace chorus
