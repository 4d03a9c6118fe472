#pragma once

#include <cstdint>

#include "experiments/planning/counted_backend.h"
#include "experiments/planning/machine.h"
#include "parallel/communicator.h"

namespace chorus {

// The time, by a model of the machine, of work that is not done. An operator takes the longer of its arithmetic and its
// memory traffic (Williams et al. 2009), and the pause before the next one.
struct Price {
  double seconds = 0;          // of the rank, from the first call to the last
  double product_seconds = 0;  // of operators that arithmetic bounds
  double memory_seconds = 0;   // of those that memory traffic bounds
  double pause_seconds = 0;
  double tensor_seconds = 0;                    // waited for exchanges of the tensor group
  double gradient_seconds = 0;                  // of the data group, and of all ranks
  double flops = 0, bytes = 0;                  // of operators
  double tensor_bytes = 0, gradient_bytes = 0;  // sent by this rank
  std::int64_t calls = 0, exchanges = 0;
  double side_seconds = 0;  // when the exchanges that run beside the operators end

  Price& operator+=(const Price& other);
  Price& operator*=(double factor);  // times, work and bytes; not the counts
};

// Prices every operator by its work.
class PricedBackend final : public CountedBackend {
 public:
  PricedBackend(const Machine& machine, Price& price) : machine_(machine), price_(price) {}

 private:
  void count(const OperatorWork& work) override;

  const Machine& machine_;
  Price& price_;
};

// How the ranks of a group lie on nodes: `per_node` on each of `nodes`.
struct GroupPlace {
  int per_node = 1, nodes = 1;
  int size() const { return per_node * nodes; }
};
// Of the ranks of a grid (data_rank · P + tensor_rank), filled node by node.
struct GridPlaces {
  GroupPlace tensor, data, world;
};
GridPlaces places_of(const ProcessGrid& grid, int gpus_per_node);

// Seconds of an all-reduce: a ring within each node, one across nodes for each rank's share of the array, and a tree's
// hops there and back.
//   2 (l-1)/l · bytes / link + 2 (m-1)/m · bytes / l / network + 2 (⌈log2 l⌉ · hop + ⌈log2 m⌉ · hop)
double all_reduce_seconds(const Machine& machine, const GroupPlace& place, double bytes);

// Prices exchanges. All-gather and reduce-scatter are half an all-reduce each.
class PricedCommunicator final : public Communicator {
 public:
  enum class Use { tensor, gradient };
  PricedCommunicator(const Machine& machine, Price& price, Use use, const GroupPlace& place, int rank,
                     int size)
      : machine_(machine), price_(price), use_(use), place_(place), rank_(rank), size_(size) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  using Communicator::all_reduce;
  void all_reduce(Tensor x, Reduce) override { wait_for(x.bytes(), 1); }
  void all_gather(Tensor x) override { wait_for(x.bytes(), 0.5); }
  void reduce_scatter(Tensor x) override { wait_for(x.bytes(), 0.5); }
  void broadcast(Tensor x, int) override { wait_for(x.bytes(), 0.5); }
  void barrier() override { wait_for(0, 1); }
  void begin_all_reduce(Tensor x) override;
  void finish() override;

 private:
  // Counts the exchange, and returns its time.
  double exchange(std::int64_t bytes, double share);
  void wait_for(std::int64_t bytes, double share);
  void wait(double seconds);

  const Machine& machine_;
  Price& price_;
  Use use_;
  GroupPlace place_;
  int rank_, size_;
};

}  // namespace chorus
