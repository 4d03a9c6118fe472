#pragma once

#include "ops/base/clock.h"
#include "parallel/activity.h"
#include "parallel/communicator.h"

namespace chorus {

// Adds up the time that another communicator takes, and says meanwhile where this rank is. Where calls return before their
// work is done, as on a GPU, this is the time of the calls alone.
class TimedCommunicator : public Communicator {
 public:
  explicit TimedCommunicator(Communicator& inner, Activity* activity = nullptr)
      : inner_(inner), activity_(activity) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  using Communicator::all_reduce;
  void all_reduce(Tensor x, Reduce how) override {
    timed("all_reduce", [&] { inner_.all_reduce(x, how); });
  }
  void all_gather(Tensor x) override {
    timed("all_gather", [&] { inner_.all_gather(x); });
  }
  void reduce_scatter(Tensor x) override {
    timed("reduce_scatter", [&] { inner_.reduce_scatter(x); });
  }
  void begin_all_reduce(Tensor x) override {
    timed("all_reduce", [&] { inner_.begin_all_reduce(x); });
  }
  void finish() override {
    timed("all_reduce (begun before)", [&] { inner_.finish(); });
  }
  void broadcast(Tensor x, int root) override {
    timed("broadcast", [&] { inner_.broadcast(x, root); });
  }
  void barrier() override {
    timed("barrier", [&] { inner_.barrier(); });
  }

  double seconds() const { return seconds_; }

 private:
  template <typename Call>
  void timed(const char* collective, Call call) {
    const Activity::In in(activity_, collective);
    const Clock clock;
    call();
    seconds_ += clock.seconds();
  }

  Communicator& inner_;
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
