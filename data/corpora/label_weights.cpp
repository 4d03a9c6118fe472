#include "data/corpora/label_weights.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>

#include "data/text/text.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

std::vector<double> balanced(const std::vector<std::int64_t>& counts) {
  const auto present = std::ranges::count_if(counts, [](std::int64_t count) { return count > 0; });
  const auto all = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  std::vector<double> weights;
  for (const std::int64_t count : counts)
    weights.push_back(count > 0 ? all / (static_cast<double>(present) * static_cast<double>(count)) : 1);
  return weights;
}

}  // namespace

std::vector<double> label_weights(const std::vector<std::string>& given,
                                  const std::vector<std::string>& labels,
                                  const std::vector<std::int64_t>& counts) {
  if (given == std::vector<std::string>{"balanced"}) return balanced(counts);
  std::vector<double> weights(labels.size(), 1);
  std::set<std::string> seen;
  for (const std::string& each : given) {
    const std::size_t equals = each.rfind('=');
    const std::optional<double> weight =
        equals == std::string::npos ? std::nullopt : parse_real(std::string_view(each).substr(equals + 1));
    require<ConfigurationError>(
        weight && *weight > 0 && *weight <= 1e6, "--label-weights '", each,
        "' must be LABEL=NUMBER, with a number above 0 and at most 1000000, or balanced "
        "alone");
    const std::string name = each.substr(0, equals);
    const auto label = std::ranges::find(labels, name);
    require<ConfigurationError>(label != labels.end(), "--label-weights: there is no label '", name,
                                "'; there are ", joined(labels, ", "));
    require<ConfigurationError>(seen.insert(name).second, "--label-weights gives ", name, " twice");
    weights[static_cast<std::size_t>(label - labels.begin())] = *weight;
  }
  return weights;
}

}  // namespace chorus
