#pragma once

#include "ops/tensor.h"
#include "parallel/process_grid.h"

namespace chorus {

enum class Reduce { sum, max };

// A group of ranks that exchange tensors. Every rank of the group makes the same calls in the same order with equal
// shapes. Calls take effect in the program order of the backend. Results have the same bits on every rank.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // x = reduction of x over the group; bf16 is added in f32 and rounded once per addition.
  virtual void all_reduce(Tensor x, Reduce how) = 0;
  void all_reduce(Tensor x) { all_reduce(x, Reduce::sum); }
  // x [size, …]: each rank has filled x[rank]; afterwards every rank holds all rows.
  virtual void all_gather(Tensor x) = 0;
  // x [size, …]: afterwards x[rank] is the sum of the ranks' x[rank]; the other rows are of no use.
  virtual void reduce_scatter(Tensor x) = 0;
  // x = x of rank `root`.
  virtual void broadcast(Tensor x, int root) = 0;
  // Waits until all ranks are here and their work is done.
  virtual void barrier() = 0;

  // all_reduce beside the backend's further work, where the device can do both at once: x must not be touched before
  // finish(), which ends all that were begun.
  virtual void begin_all_reduce(Tensor x) { all_reduce(x); }
  virtual void finish() {}
};

// The three groups a rank belongs to. `tensor` shares the layers' weights, `data` holds the same slice of them.
struct Groups {
  ProcessGrid grid;
  Communicator& world;
  Communicator& data;
  Communicator& tensor;
};

// Exchanges nothing: the group of one rank, and the stand-in of dry runs that only measure memory.
class IdleCommunicator : public Communicator {
 public:
  explicit IdleCommunicator(int rank = 0, int size = 1) : rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  using Communicator::all_reduce;
  void all_reduce(Tensor, Reduce) override {}
  void all_gather(Tensor) override {}
  void reduce_scatter(Tensor) override {}
  void broadcast(Tensor, int) override {}
  void barrier() override {}

 private:
  int rank_, size_;
};

}  // namespace chorus
