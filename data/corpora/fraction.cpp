#include "data/corpora/fraction.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "data/text/text.h"
#include "ops/base/error.h"
#include "ops/base/random.h"

namespace chorus {

namespace {

// `count` lines, or all, the first in an order that the seed alone decides.
void append_random(const std::vector<const Utterance*>& lines, double count, std::uint64_t seed,
                   std::uint32_t stream, std::vector<const Utterance*>& out) {
  std::vector<std::size_t> order(lines.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return random_word(seed, RandomUse::selection, stream, a) <
           random_word(seed, RandomUse::selection, stream, b);
  });
  order.resize(std::min(order.size(), static_cast<std::size_t>(std::llround(count))));
  for (const std::size_t line : order) out.push_back(lines[line]);
}

}  // namespace

double parse_fraction(const std::string& text) {
  const std::size_t slash = text.find('/');
  const auto numerator = parse_real(std::string_view(text).substr(0, slash));
  const auto denominator =
      slash == std::string::npos ? 1.0 : parse_real(std::string_view(text).substr(slash + 1));
  const double fraction = numerator && denominator ? *numerator / *denominator : 0;
  require<ConfigurationError>(fraction > 0 && fraction <= 1, "--fraction is '", text,
                              "', it must be above 0 and at most 1, as in 1/4 or 0.25");
  return fraction;
}

std::vector<const Utterance*> fraction_of(const std::vector<std::vector<const Utterance*>>& corpora,
                                          double fraction, Mix mix, std::uint64_t seed) {
  std::vector<const Utterance*> all, chosen;
  for (const auto& lines : corpora) all.insert(all.end(), lines.begin(), lines.end());
  if (mix == Mix::total) {
    append_random(all, fraction * static_cast<double>(all.size()), seed, 1, chosen);
    return chosen;
  }
  const double mean_size = static_cast<double>(all.size()) / static_cast<double>(corpora.size());
  for (std::size_t c = 0; c < corpora.size(); ++c) {
    const double size = mix == Mix::equal ? mean_size : static_cast<double>(corpora[c].size());
    append_random(corpora[c], fraction * size, seed, static_cast<std::uint32_t>(1 + c), chosen);
  }
  return chosen;
}

}  // namespace chorus
