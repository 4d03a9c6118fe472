#pragma once

#include <chrono>
#include <vector>

namespace chorus {

// Measures the work that a backend does in its order, between marks.
class StreamClock {
 public:
  virtual ~StreamClock() = default;
  // Marks the moment when all that was called before is done and what is called later has not begun. Waits for nothing.
  virtual void mark() = 0;
  // Seconds from each mark to the next since the last call, one fewer than marks. Waits for the last of them.
  virtual std::vector<double> intervals() = 0;
};

// Of a backend whose work is done when a call returns, as on a CPU.
class HostStreamClock final : public StreamClock {
 public:
  void mark() override { marks_.push_back(std::chrono::steady_clock::now()); }
  std::vector<double> intervals() override {
    std::vector<double> seconds;
    for (std::size_t i = 1; i < marks_.size(); ++i)
      seconds.push_back(std::chrono::duration<double>(marks_[i] - marks_[i - 1]).count());
    marks_.clear();
    return seconds;
  }

 private:
  std::vector<std::chrono::steady_clock::time_point> marks_;
};

}  // namespace chorus
