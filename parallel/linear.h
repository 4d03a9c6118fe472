#pragma once

#include <cstdint>
#include <optional>

#include "ops/backend.h"
#include "parallel/communicator.h"
#include "parallel/low_rank.h"
#include "parallel/parameters.h"
#include "parallel/token_rows.h"

namespace chorus {

// y = x Wᵀ, and what a low-rank path beside it adds. Local shapes on P tensor ranks:
//
//   split     W          partial sums over tensor ranks
//   columns   [O/P, I]   dx
//   rows      [O, I/P]   y
//
// y is summed here, once, with what the path has added. The sum of dx is left to the caller, who adds several layers with
// one input first.
class Linear {
 public:
  Linear(Backend& backend, Communicator& tensor, Split split, TokenDivision division = TokenDivision::none)
      : backend_(backend), tensor_(tensor), split_(split), rows_(backend, tensor, division) {}

  Weight weight;  // local part of W
  // A row-split layer multiplies its rows in so many pieces and sums each while the next is multiplied.
  int overlap_chunks = 1;

  // What a pass adds to the layer; without `path` nothing.
  struct Addition {
    const LowRank* path = nullptr;
    std::optional<Dropout> dropout = {};  // of the path, while training
  };

  // The two are one tensor unless the layer is split by columns and the sequence is divided.
  struct Input {
    Input(const Tensor& x) : own(x), all(x) {}  // NOLINT: every tensor is an input
    Input(const ConstTensor& x) : own(x), all(x) {}
    Input(const ConstTensor& own, const ConstTensor& all) : own(own), all(all) {}
    ConstTensor own, all;  // [N/P, I], [N, I]
  };

  // y is complete on return; of a row-split layer with a divided sequence only the own rows. u [N, R] of the path is
  // written, for backward.                                  x [N, I or I/P]  y [N, O/P or O]
  void forward(Tensor y, Tensor u, const Input& x, const Addition& addition, Arena& arena) const;
  // dx = or += this rank's term; adds dW, dA, dB to the gradients of trained parameters.
  //                                                         x: the own rows, where the sequence is divided
  enum class Into { write, accumulate };
  void backward(Tensor dx, Into into, ConstTensor dy, ConstTensor x, ConstTensor u, const Addition& addition,
                Arena& arena) const;

 private:
  // y = x Wᵀ + s u Bᵀ of the same rows.
  void multiply(Tensor y, ConstTensor x, ConstTensor u, const Addition& addition, const Shard& rows) const;

  Backend& backend_;
  Communicator& tensor_;
  Split split_;
  TokenRows rows_;
};

}  // namespace chorus
