#pragma once

#include "ops/base/clock.h"
#include "parallel/communicator.h"

namespace chorus {

// Adds up the time that another communicator takes. Where calls return before their work is done, as on a GPU, this
// is the time of the calls alone.
class TimedCommunicator : public Communicator {
 public:
  explicit TimedCommunicator(Communicator& inner) : inner_(inner) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  using Communicator::all_reduce;
  void all_reduce(Tensor x, Reduce how) override {
    timed([&] { inner_.all_reduce(x, how); });
  }
  void all_gather(Tensor x) override {
    timed([&] { inner_.all_gather(x); });
  }
  void reduce_scatter(Tensor x) override {
    timed([&] { inner_.reduce_scatter(x); });
  }
  void begin_all_reduce(Tensor x) override {
    timed([&] { inner_.begin_all_reduce(x); });
  }
  void finish() override {
    timed([&] { inner_.finish(); });
  }
  void broadcast(Tensor x, int root) override {
    timed([&] { inner_.broadcast(x, root); });
  }
  void barrier() override {
    timed([&] { inner_.barrier(); });
  }

  double seconds() const { return seconds_; }

 private:
  template <typename Call>
  void timed(Call call) {
    const Clock clock;
    call();
    seconds_ += clock.seconds();
  }

  Communicator& inner_;
  double seconds_ = 0;
};

// The three groups of a rank, timed.
class TimedGroups {
 public:
  explicit TimedGroups(const Groups& inner)
      : grid_(inner.grid), world_(inner.world), data_(inner.data), tensor_(inner.tensor) {}

  Groups groups() { return {grid_, world_, data_, tensor_}; }
  const ProcessGrid& grid() const { return grid_; }
  double seconds() const { return world_.seconds() + data_.seconds() + tensor_.seconds(); }

 private:
  ProcessGrid grid_;
  TimedCommunicator world_, data_, tensor_;
};

}  // namespace chorus
