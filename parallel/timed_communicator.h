#pragma once

#include "ops/base/clock.h"
#include "parallel/activity.h"
#include "parallel/forwarding_communicator.h"

namespace chorus {

// Adds up the time that another communicator takes, and says meanwhile where this rank is. Where calls return before their
// work is done, as on a GPU, this is the time of the calls alone.
class TimedCommunicator : public ForwardingCommunicator<TimedCommunicator> {
 public:
  explicit TimedCommunicator(Communicator& inner, Activity* activity = nullptr)
      : ForwardingCommunicator(inner), activity_(activity) {}

  template <typename Call>
  void around(const char* collective, Call call) {
    const Activity::In in(activity_, collective);
    const Clock clock;
    call();
    seconds_ += clock.seconds();
  }

  double seconds() const { return seconds_; }

 private:
  Activity* activity_;
  double seconds_ = 0;
};

// The three groups of a rank, timed.
class TimedGroups {
 public:
  explicit TimedGroups(const Groups& inner, Activity* activity = nullptr)
      : grid_(inner.grid),
        world_(inner.world, activity),
        data_(inner.data, activity),
        tensor_(inner.tensor, activity) {}

  Groups groups() { return {grid_, world_, data_, tensor_}; }
  const ProcessGrid& grid() const { return grid_; }
  double seconds() const { return world_.seconds() + data_.seconds() + tensor_.seconds(); }

 private:
  ProcessGrid grid_;
  TimedCommunicator world_, data_, tensor_;
};

}  // namespace chorus
