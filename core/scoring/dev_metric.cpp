#include "core/scoring/dev_metric.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace chorus {

namespace {

struct MetricNames {
  DevMetric metric;
  std::string_view name, title;
};
constexpr std::array<MetricNames, 5> metrics{{{DevMetric::automatic, "auto", "automatic"},
                                              {DevMetric::loss, "loss", "loss"},
                                              {DevMetric::accuracy, "accuracy", "accuracy"},
                                              {DevMetric::weighted_f1, "weighted-f1", "weighted F1"},
                                              {DevMetric::macro_f1, "macro-f1", "macro F1"}}};

}  // namespace

std::string_view name(DevMetric metric) {
  return std::ranges::find(metrics, metric, &MetricNames::metric)->name;
}

std::optional<DevMetric> find_dev_metric(std::string_view name) {
  const auto* found = std::ranges::find(metrics, name, &MetricNames::name);
  return found == metrics.end() ? std::nullopt : std::optional(found->metric);
}

std::string_view title(DevMetric metric) {
  return std::ranges::find(metrics, metric, &MetricNames::metric)->title;
}

DevMetric resolve(DevMetric asked, const DataSplit& dev) {
  const bool has_labels = dev.has_candidates();
  if (asked == DevMetric::automatic) return has_labels ? DevMetric::weighted_f1 : DevMetric::loss;
  require<ConfigurationError>(asked == DevMetric::loss || has_labels, "--dev-metric ", name(asked),
                              " compares labels, and the utterances of the ", dev.origin().split,
                              " split have none to choose from: only --dev-metric loss is possible");
  return asked;
}

double score_of(DevMetric metric, const Evaluation& evaluation) {
  if (metric == DevMetric::loss) return -evaluation.loss;
  return score_of(metric, evaluation.scores());
}

double score_of(DevMetric metric, const Scores& scores) {
  if (metric == DevMetric::accuracy) return scores.accuracy();
  if (metric == DevMetric::macro_f1) return scores.macro_f1();
  require(metric == DevMetric::weighted_f1, "labels have no score by ", name(metric));
  return scores.weighted_f1();
}

std::string print_score(DevMetric metric, double score) {
  return metric == DevMetric::loss ? fmt::format("{:.4f}", -score) : fmt::format("{:.2f}", 100 * score);
}

}  // namespace chorus
