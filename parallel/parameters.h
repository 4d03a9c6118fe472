#pragma once

#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ops/memory.h"
#include "parallel/communicator.h"

namespace chorus {

// How a trained tensor lies over the P tensor ranks, which decides where its gradient is summed (once per optimizer
// step, in fp32, never divided by P):
//
//                        each rank holds   gradient of one rank           summed over
//   sharded              its part          whole, of its part             data group
//   replicated           all              the same on all tensor ranks    data group
//   partially_summed     all              one term of a sum               world
//
// `partially_summed` are the LoRA factors A of column-split and B of row-split layers, and norms over heads; `replicated`
// the other norms.
enum class Placement { partially_summed, replicated, sharded };

struct Parameter {
  std::string name;  // of the tensor in the file
  Shape full, local;
  Placement placement = Placement::replicated;
  int split_dim = 0;  // of `sharded`
  Shard part;         // of `sharded`
  bool is_b = false;  // the factor B of a low-rank path
  Tensor value;       // what the forward pass reads, in the precision of the computation
  Tensor master;      // acc; the same memory as `value` where the precision is acc
  Tensor gradient;    // acc; the backward pass adds to it
  std::int64_t offset = 0;
};

// All trained tensors of a rank in a few flat arrays, one zone per placement, so that gradients are reduced, measured
// and applied by a handful of calls.
class ParameterSet {
 public:
  ParameterSet(Backend& backend, const Groups& groups, DType precision)
      : backend_(backend), groups_(groups), precision_(precision) {}

  // Registers a tensor; the reference stays valid. Only before allocate().
  Parameter& add(std::string name, const Shape& full, Placement placement, int split_dim = 0);
  // Takes values, masters and gradients. Gradients start at zero.
  void allocate(Arena& arena);

  std::deque<Parameter>& all() { return parameters_; }
  const std::deque<Parameter>& all() const { return parameters_; }
  std::int64_t full_elements() const;  // trainable parameters of the model, not of the rank
  std::int64_t flat_elements() const { return zones_.back().end; }
  Tensor masters() const { return masters_; }
  Tensor gradients() const { return gradients_; }

  // Sets this rank's part from the full tensor, in master and value.
  void assign(Parameter& parameter, std::span<const float> full);
  // Rounds masters to values, after an update.
  void refresh_values();
  void zero_gradients() { backend_.fill(gradients_, 0); }

  // Sums gradients over the ranks. Collective.
  void reduce_gradients();
  // This rank's part of `flat` (an array laid out like masters()), of the local shape.
  Tensor part_of(const Parameter& parameter, Tensor flat) const;
  // Norm of all trained weights of the model; not finite where one of them is not. Collective.
  double norm() const { return global_norm(masters_); }
  // Global norm of the reduced gradients: every element of the model counts once. Collective.
  double gradient_norm() const { return global_norm(gradients_); }
  // The same for one tensor. Collective.
  double gradient_norm(const Parameter& parameter) const;

  // The full tensor of which `flat` (an array laid out like masters()) holds this rank's part, on every rank of the
  // tensor group. `scratch` must hold the full tensor. Collective over the tensor group.
  std::vector<float> gather(const Parameter& parameter, Tensor flat, Arena& scratch) const;
  // This rank's part of a full tensor into `flat`.
  void scatter(const Parameter& parameter, Tensor flat, std::span<const float> full) const;

 private:
  double global_norm(Tensor flat) const;
  double root_of_sum(ConstTensor x, bool sharded) const;

  Backend& backend_;
  Groups groups_;
  DType precision_;
  std::deque<Parameter> parameters_;
  std::vector<Shard> zones_ = std::vector<Shard>(3);  // of the flat arrays, by Placement
  Tensor values_, masters_, gradients_;
  Tensor sums_;  // acc [1]
};

// `shape`, of one or two dims, with another extent.
Shape with_dim(const Shape& shape, int dim, std::int64_t extent);

// Rows or columns [part.begin, part.end) of a full row-major array of one or two dims.
std::vector<float> slice(std::span<const float> full, const Shape& shape, int dim, const Shard& part);

// A weight of the base: a frozen tensor, which a matrix may be in few bits, or, with --method full, a trained parameter.
struct Weight {
  ConstTensor frozen;
  Parameter* trained = nullptr;
  std::optional<QuantisedMatrix> quantised = {};  // instead of `frozen`
  // Of one that is not quantised.
  ConstTensor value() const {
    require(!quantised, "a quantised weight is read without dequantise()");
    return trained != nullptr ? ConstTensor(trained->value) : frozen;
  }
  // In the type of the computation; of a quantised one in memory of `arena`.
  ConstTensor value(Backend& backend, DType dtype, Arena& arena) const;
  // y = x Wᵀ.                                                x [N, I]  y [N, O]
  void multiply(Tensor y, ConstTensor x, Backend& backend, Arena& arena) const;
};

}  // namespace chorus
