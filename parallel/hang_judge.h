#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "parallel/activity.h"

namespace chorus {

// What a rank tells of itself, as bytes.
struct Heartbeat {
  std::array<char, 64> host{};
  std::array<char, 32> phase{}, collective{};
  std::int64_t step = 0;
  std::uint64_t changes = 0;

  static Heartbeat of(const std::string& host, const Activity::State& state);
};

inline constexpr double usual_hang_limit = 1800;  // seconds

struct HangLimits {
  double warning =
      60;          // seconds without progress of any rank after which it is said; and after twice that, …
  double end = 0;  // after which the run ends; 0: never
};

// When a run stands still, as this rank sees it. Ranks 0 and 1 hear of all ranks, the others of rank 0 only. Rank 0 speaks, and rank 1 where
// rank 0 is not heard any more.
class HangJudge {
 public:
  struct Verdict {
    std::string line;  // to be said, unless it is empty
    bool ends = false;
  };

  // Times are seconds of one clock of this rank. `hears`: false where no rank hears of another.
  HangJudge(int rank, int size, bool hears, HangLimits limits, double now);
  void hear(int rank, const Heartbeat& heartbeat, double now);
  Verdict judge(double now);
  // This process itself stood still: what it did not hear meanwhile says nothing.
  void forget_silence(double now);

 private:
  struct Rank {
    Heartbeat last;
    double heard = 0, changed = 0;
  };

  bool is_silent(std::size_t rank, double now) const {
    return now - ranks_[rank].heard > limits_.warning / 2;
  }
  Verdict judge_alone(double now) const;
  std::string describe(double now) const;

  std::size_t rank_;
  bool hears_;
  HangLimits limits_;
  std::vector<Rank> ranks_;
  double next_warning_;
};

}  // namespace chorus
