#pragma once

#include <cstdint>

#include "experiments/planning/machine.h"
#include "ops/backend.h"
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

// Prices every operator; computes nothing and owns no memory, like PlanningBackend. A byte is counted once per tensor
// that a call reads or writes.
class PricedBackend final : public Backend {
 public:
  PricedBackend(const Machine& machine, Price& price) : machine_(machine), price_(price) {}

  Buffer allocate(std::int64_t bytes) override { return {nullptr, bytes, {}}; }
  void upload(Tensor, const void*) override {}
  void download(void* to, ConstTensor from) override;

  void convert(Tensor out, ConstTensor x) override { move({out, x}); }
  void fill(Tensor out, double) override { move({out}); }
  void add(Tensor out, ConstTensor a, ConstTensor b) override { move({out, a, b}); }
  void relu(Tensor out, ConstTensor x) override { move({out, x}); }
  void relu_backward(Tensor dx, ConstTensor dout, ConstTensor x) override { move({dx, dout, x}); }
  void dropout(Tensor out, ConstTensor x, ConstTensor, const DropoutMask&) override { move({out, x}); }
  void matmul(Tensor out, ConstTensor a, ConstTensor b, MatmulOptions options = {}) override;
  void gather_rows(Tensor out, ConstTensor, ConstTensor) override { move({out, out}); }
  void scatter_rows(Tensor, ConstTensor x, ConstTensor) override { move({x, x}); }
  void embed(Tensor out, ConstTensor, ConstTensor, std::int64_t) override { move({out, out}); }
  void embed_backward(Tensor, ConstTensor dout, ConstTensor, std::int64_t) override {
    move({dout, dout, dout});
  }
  void rms_norm(Tensor out, Tensor rstd, ConstTensor x, ConstTensor, double) override {
    move({out, rstd, x});
  }
  void rms_norm_backward(Tensor dx, ConstTensor dout, ConstTensor x, ConstTensor, ConstTensor rstd) override {
    move({dx, dx, dout, x, rstd});
  }
  void rms_norm_weight_backward(Tensor, ConstTensor dout, ConstTensor x, ConstTensor rstd) override {
    move({dout, x, rstd});
  }
  void rope(Tensor x, ConstTensor, ConstTensor, Rotation) override { move({x, x}); }
  void attention(Tensor out, Tensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                 const Forest& forest) override;
  void attention_backward(Tensor dq, Tensor dk, Tensor dv, ConstTensor dout, ConstTensor out, ConstTensor lse,
                          ConstTensor q, ConstTensor k, ConstTensor v, const Forest& forest) override;
  void cached_attention(Tensor out, ConstTensor q, ConstTensor k, ConstTensor v, ConstTensor) override {
    move({out, q, k, v});
  }
  void swiglu(Tensor out, ConstTensor gate, ConstTensor up) override { move({out, gate, up}); }
  void swiglu_backward(Tensor dgate, Tensor dup, ConstTensor dout, ConstTensor gate,
                       ConstTensor up) override {
    move({dgate, dup, dout, gate, up});
  }
  void log_sum_exp(Tensor, ConstTensor logits) override { move({logits}); }
  void combine_log_sum_exp(Tensor, ConstTensor parts) override { move({parts}); }
  void target_log_probability(Tensor out, ConstTensor, ConstTensor, ConstTensor, ConstTensor,
                              std::int64_t) override {
    move({out});
  }
  void cross_entropy_backward(Tensor dlogits, ConstTensor logits, ConstTensor, ConstTensor, ConstTensor,
                              ConstTensor, std::int64_t, double) override {
    move({dlogits, logits});
  }
  void sum_of_squares(Tensor, ConstTensor x) override { move({x}); }
  void adamw(Tensor value, Tensor m, Tensor v, ConstTensor gradient, const AdamWOptions&) override {
    move({value, value, m, m, v, v, gradient});
  }

 private:
  void move(std::initializer_list<ConstTensor> tensors) { spend(0, 1, tensors); }
  void spend(double flops, double flops_per_second, std::initializer_list<ConstTensor> tensors);

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
