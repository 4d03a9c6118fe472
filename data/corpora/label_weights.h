#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace chorus {

// What an answer of each of `labels` weighs in the loss. `given` is empty, which is 1 for all; LABEL=WEIGHT each, 1 for the
// others; or "balanced" alone: with `counts` lines of each label n / (k count), k labels having lines, so that these have
// equal sums of weights, and the mean over all n lines is 1 (King & Zeng 2001, Logistic Regression in Rare Events Data).
// Throws ConfigurationError, beginning with --label-weights.
std::vector<double> label_weights(const std::vector<std::string>& given,
                                  const std::vector<std::string>& labels,
                                  const std::vector<std::int64_t>& counts);

}  // namespace chorus
