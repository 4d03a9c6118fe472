#pragma once

#include "parallel/communicator.h"

namespace chorus {

// Passes every exchange on to another communicator, through around(name, call) of the class that derives from it.
template <typename Derived>
class ForwardingCommunicator : public Communicator {
 public:
  explicit ForwardingCommunicator(Communicator& inner) : inner_(inner) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  using Communicator::all_reduce;
  void all_reduce(Tensor x, Reduce how) override {
    self().around("all_reduce", [&] { inner_.all_reduce(x, how); });
  }
  void all_gather(Tensor x) override {
    self().around("all_gather", [&] { inner_.all_gather(x); });
  }
  void reduce_scatter(Tensor x) override {
    self().around("reduce_scatter", [&] { inner_.reduce_scatter(x); });
  }
  void begin_all_reduce(Tensor x) override {
    self().around("all_reduce", [&] { inner_.begin_all_reduce(x); });
  }
  void finish() override {
    self().around("all_reduce (begun before)", [&] { inner_.finish(); });
  }
  void broadcast(Tensor x, int root) override {
    self().around("broadcast", [&] { inner_.broadcast(x, root); });
  }
  void barrier() override {
    self().around("barrier", [&] { inner_.barrier(); });
  }

 private:
  Derived& self() { return static_cast<Derived&>(*this); }

  Communicator& inner_;
};

}  // namespace chorus
