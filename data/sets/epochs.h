#pragma once

#include <cstdint>
#include <vector>

namespace chorus {

// How many steps the epochs of a training take. Epochs and steps count from 0.
class Epochs {
 public:
  // `samples` [at least 1] that the first epochs take; all later ones take as many as the last of these.
  Epochs(const std::vector<std::int64_t>& samples, std::int64_t batch_size);

  // The first step of an epoch.
  std::int64_t begin(std::int64_t epoch) const;
  // The epoch that a step is of.
  std::int64_t of(std::int64_t step) const;
  // Whether an epoch ends after so many steps.
  bool end_after(std::int64_t steps) const { return steps > 0 && begin(of(steps)) == steps; }
  // So many steps as epochs, the last of them a fraction.
  double after(std::int64_t steps) const;
  // Steps of so many epochs, the last of which may be a fraction and is rounded up.
  std::int64_t steps_of(double epochs) const;

 private:
  // Of the first epochs, and of the one after them: from there on, all are alike.
  std::vector<std::int64_t> begins_;
  std::int64_t steps_of_later_;
};

}  // namespace chorus
