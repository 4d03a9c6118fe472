#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/scoring/evaluator.h"

namespace chorus {

// By what the best of a training's models is chosen on dev. automatic: weighted F1 where utterances have labels to choose
// from, else the loss.
enum class DevMetric { automatic, loss, accuracy, weighted_f1, macro_f1 };

// As options and files have it: "weighted-f1".
std::string_view name(DevMetric metric);
std::optional<DevMetric> find_dev_metric(std::string_view name);
// As people read it: "weighted F1".
std::string_view title(DevMetric metric);

// What `asked` is with this split, never automatic. Throws ConfigurationError that names the option where the split has no
// labels to choose from, and so a loss alone.
DevMetric resolve(DevMetric asked, const DataSplit& dev);

// Scores by a metric that is not automatic. The larger the better: of the loss it is the negative.
double score_of(DevMetric metric, const Evaluation& evaluation);
// Of a metric of labels.
double score_of(DevMetric metric, const Scores& scores);
// "54.65", in percent; of a loss "1.5393".
std::string print_score(DevMetric metric, double score);

}  // namespace chorus
