#include "data/sets/epochs.h"

#include <algorithm>
#include <cmath>

#include "ops/base/index.h"

namespace chorus {

Epochs::Epochs(const std::vector<std::int64_t>& samples, std::int64_t batch_size) : begins_{0} {
  for (const std::int64_t count : samples)
    begins_.push_back(begins_.back() + (count + batch_size - 1) / batch_size);
  steps_of_later_ = begins_.back() - begins_[begins_.size() - 2];
}

std::int64_t Epochs::begin(std::int64_t epoch) const {
  const std::int64_t last = std::ssize(begins_) - 1;
  return epoch <= last ? begins_[at(epoch)] : begins_.back() + (epoch - last) * steps_of_later_;
}

std::int64_t Epochs::of(std::int64_t step) const {
  const std::int64_t last = std::ssize(begins_) - 1;
  if (step >= begins_.back()) return last + (step - begins_.back()) / steps_of_later_;
  return std::ranges::upper_bound(begins_, step) - begins_.begin() - 1;
}

double Epochs::after(std::int64_t steps) const {
  const std::int64_t epoch = of(steps), first = begin(epoch);
  return static_cast<double>(epoch) +
         static_cast<double>(steps - first) / static_cast<double>(begin(epoch + 1) - first);
}

std::int64_t Epochs::steps_of(double epochs) const {
  const auto whole = static_cast<std::int64_t>(epochs);
  const std::int64_t first = begin(whole);
  const double rest = (epochs - std::floor(epochs)) * static_cast<double>(begin(whole + 1) - first);
  return first + static_cast<std::int64_t>(std::ceil(rest - 1e-9));
}

}  // namespace chorus
