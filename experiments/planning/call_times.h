#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "experiments/planning/counted_backend.h"
#include "ops/stream_clock.h"
#include "parallel/forwarding_communicator.h"

namespace chorus {

// Adds up the time of the calls of operators and exchanges, and of what lies between them: on a GPU the stream is idle
// then, on a CPU it is the engine's own code. Nothing waits for a call; clocks are read when a run of calls ends.
class CallTimes {
 public:
  struct Total {
    std::string name, shape;
    std::int64_t calls = 0;
    double seconds = 0, bytes = 0, flops = 0;  // of all calls
  };

  explicit CallTimes(StreamClock& clock) : clock_(clock) {}

  // Outside of a run, which lasts from begin() to end(), calls are not timed.
  void begin();
  void end();
  bool running() const { return running_; }
  // Of one call, which does not contain another.
  template <typename Call>
  void timed(const std::string& name, const OperatorWork& work, Call call) {
    clock_.mark();
    call();
    clock_.mark();
    add(name, work);
  }

  // Of all runs since the last forget(), in the order in which calls came first.
  const std::vector<Total>& totals() const { return totals_; }
  std::int64_t runs() const { return runs_; }
  double seconds() const { return seconds_; }                  // of the runs
  double seconds_between() const { return seconds_between_; }  // of these, outside of calls
  void forget();

 private:
  void add(const std::string& name, const OperatorWork& work);

  StreamClock& clock_;
  bool running_ = false;
  std::map<std::pair<std::string, std::string>, std::size_t> places_;  // in totals_, by name and shape
  std::vector<Total> totals_;
  std::vector<std::size_t> calls_;  // of this run: places in totals_
  std::int64_t runs_ = 0;
  double seconds_ = 0, seconds_between_ = 0;
};

// Times the exchanges of another communicator.
class CallTimingCommunicator final : public ForwardingCommunicator<CallTimingCommunicator> {
 public:
  CallTimingCommunicator(Communicator& inner, CallTimes& times)
      : ForwardingCommunicator(inner), times_(times) {}

  template <typename Call>
  void around(const char* collective, Call call) {
    if (!times_.running()) return call();
    times_.timed(collective, {}, call);
  }

 private:
  CallTimes& times_;
};

}  // namespace chorus
