#include "experiments/planning/stopwatch.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/base/clock.h"

namespace chorus {

Stopwatch::Stopwatch(Backend& backend, Communicator& world, Arena& arena, double least_seconds)
    : backend_(backend), world_(world), flag_(arena.take(DType::i32, {1})), least_seconds_(least_seconds) {
  backend.fill(flag_, 0);
}

double Stopwatch::seconds_of(std::int32_t calls, const std::function<void()>& call) const {
  std::int32_t flag = 0;
  world_.barrier();
  const Clock clock;
  for (std::int32_t i = 0; i < calls; ++i) call();
  backend_.download(&flag, flag_);
  return clock.seconds();
}

std::int32_t Stopwatch::agree(std::int32_t calls) const {
  backend_.upload(flag_, &calls);
  world_.broadcast(flag_, 0);
  backend_.download(&calls, flag_);
  return calls;
}

double Stopwatch::seconds_per_call(const std::function<void()>& call) const {
  const double first = seconds_of(1, call);  // also what is made once: plans, tile lists
  if (least_seconds_ == 0) return first;
  const double warm = std::max(seconds_of(1, call), 1e-7);
  const std::int32_t calls = agree(static_cast<std::int32_t>(std::ceil(least_seconds_ / warm)));
  double best = std::numeric_limits<double>::infinity();
  for (int round = 0; round < 3; ++round) best = std::min(best, seconds_of(calls, call));
  return best / calls;
}

}  // namespace chorus
