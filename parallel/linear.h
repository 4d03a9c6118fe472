#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "ops/memory.h"
#include "parallel/communicator.h"
#include "parallel/low_rank.h"
#include "parallel/parameters.h"
#include "parallel/token_rows.h"

namespace chorus {

// y = x Wᵀ + b, and what a low-rank path beside it adds. Local shapes on P tensor ranks:
//
//   split     W          partial sums over tensor ranks
//   columns   [O/P, I]   dx
//   rows      [O, I/P]   y
//
// y is summed here, once, with what the path has added. The sum of dx is left to the caller, who may add more to it.
// Layers that read the same x, of one split, pass it together.
class Linear {
 public:
  Linear(Backend& backend, Communicator& tensor, Split split, TokenDivision division = TokenDivision::none)
      : backend_(backend), tensor_(tensor), split_(split), rows_(backend, tensor, division) {}

  Weight weight;  // local part of W
  // [O/P], of layers that have one, split by columns: of b each rank adds its part. Last, and rounded with the sum: beside
  // it all else may be small.
  std::optional<Weight> bias;
  // A row-split layer multiplies its rows in so many pieces and sums each while the next is multiplied.
  int overlap_chunks = 1;

  // The two are one tensor unless the layer is split by columns and the sequence is divided.
  struct Input {
    Input(const Tensor& x) : own(x), all(x) {}  // NOLINT: every tensor is an input
    Input(const ConstTensor& x) : own(x), all(x) {}
    Input(const ConstTensor& own, const ConstTensor& all) : own(own), all(all) {}
    ConstTensor own, all;  // [N/P, I], [N, I]
  };

  // One of the layers in a pass, with the path beside it and its u [N, R], or null.
  struct Forward {
    const Linear* layer;
    Tensor y;  // [N, O/P or O]
    LowRank::Down added = {};
  };
  struct Backward {
    const Linear* layer;
    ConstTensor dy;
    LowRank::Down added = {};
  };

  // y is complete on return, of a row-split layer with a divided sequence the own rows; an empty one is not computed. u is
  // written, for backward. `dropout` is of the paths, while training.               x [N, I or I/P]
  static void forward(std::span<const Forward> layers, const Input& x, const std::optional<Dropout>& dropout,
                      Arena& arena);
  // dx = this rank's term, where anybody needs it: an empty one is not computed. Adds dW, db, dA, dB to the gradients of
  // trained parameters.
  //                                                         x: the own rows, where the sequence is divided
  static void backward(Tensor dx, std::span<const Backward> layers, ConstTensor x,
                       const std::optional<Dropout>& dropout, Arena& arena);

 private:
  // y = x Wᵀ + s u Bᵀ + b.
  void project(Tensor y, ConstTensor x, const LowRank::Down& added, Arena& arena) const;
  // y += s u Bᵀ + b of some rows.
  void add_to_product(Tensor y, const LowRank::Down& added, const Shard& rows) const;

  Backend& backend_;
  Communicator& tensor_;
  Split split_;
  TokenRows rows_;
};

}  // namespace chorus
