#include "experiments/planning/call_times.h"

namespace chorus {

void CallTimes::begin() {
  calls_.clear();
  clock_.mark();
  running_ = true;
}

// Marks are those of begin() and end(), and two of each call between them.
void CallTimes::end() {
  running_ = false;
  clock_.mark();
  const std::vector<double> intervals = clock_.intervals();
  require(intervals.size() == 2 * calls_.size() + 1, calls_.size(), " calls have ", intervals.size(),
          " intervals");
  for (std::size_t i = 0; i < intervals.size(); ++i) {
    (i % 2 == 0 ? seconds_between_ : totals_[calls_[i / 2]].seconds) += intervals[i];
    seconds_ += intervals[i];
  }
  ++runs_;
}

void CallTimes::add(const std::string& name, const OperatorWork& work) {
  const std::string shape = work.shape.rank() == 0 ? "" : to_string(work.shape);
  const auto [place, is_new] = places_.try_emplace({name, shape}, totals_.size());
  if (is_new) totals_.push_back({.name = name, .shape = shape});
  Total& total = totals_[place->second];
  ++total.calls;
  total.bytes += work.bytes;
  total.flops += work.flops;
  calls_.push_back(place->second);
}

void CallTimes::forget() {
  places_.clear();
  totals_.clear();
  runs_ = 0;
  seconds_ = seconds_between_ = 0;
}

}  // namespace chorus
