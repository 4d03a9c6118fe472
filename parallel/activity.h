#pragma once

#include <atomic>
#include <cstdint>

namespace chorus {

// What the thread of this rank that computes is doing, to be read by another one. Texts are literals.
class Activity {
 public:
  struct State {
    const char* phase = "";       // "": it has not begun to compute
    std::int64_t step = 0;        // of the phase
    const char* collective = "";  // in which it is, if it is in one
    std::uint64_t changes = 0;    // of any of these
  };

  void now(const char* phase, std::int64_t step) {
    phase_ = phase;
    step_ = step;
    ++changes_;
  }
  // As long as it lives, the rank is in a collective.
  class In {
   public:
    In(Activity* activity, const char* collective) : activity_(activity) { say(collective); }
    In(const In&) = delete;
    In& operator=(const In&) = delete;
    ~In() { say(""); }

   private:
    void say(const char* collective) {
      if (activity_ == nullptr) return;
      activity_->collective_ = collective;
      ++activity_->changes_;
    }
    Activity* activity_;
  };
  State state() const { return {phase_, step_, collective_, changes_}; }

 private:
  std::atomic<const char*> phase_ = "", collective_ = "";
  std::atomic<std::int64_t> step_ = 0;
  std::atomic<std::uint64_t> changes_ = 0;
};

}  // namespace chorus
