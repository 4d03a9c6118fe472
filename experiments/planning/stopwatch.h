#pragma once

#include <cstdint>
#include <functional>

#include "ops/dry_backend.h"
#include "ops/memory.h"
#include "parallel/communicator.h"

namespace chorus {

// Repeats a call until `least_seconds` have passed, and again twice; the fastest of the three counts.
class Stopwatch {
 public:
  // 0 seconds: one call, to see what memory it takes. All ranks of `world` make the same number of calls, as those that
  // talk to each other must.
  Stopwatch(Backend& backend, Communicator& world, Arena& arena, double least_seconds);
  double seconds_per_call(const std::function<void()>& call) const;

 private:
  double seconds_of(std::int32_t calls, const std::function<void()>& call) const;
  // What rank 0 says.
  std::int32_t agree(std::int32_t calls) const;

  Backend& backend_;
  Communicator& world_;
  Tensor flag_;  // its download waits for all that was queued before
  double least_seconds_;
};

// What measurements take of an arena, found by calling measure(backend, world, arena, 0 seconds) on a backend that
// computes nothing.
template <typename Measure>
std::int64_t memory_of(const Measure& measure, int ranks) {
  DryBackend backend;
  IdleCommunicator world(0, ranks);
  Arena arena = Arena::measuring();
  measure(backend, world, arena, 0.0);
  return arena.peak_bytes();
}

}  // namespace chorus
