#pragma once

#include <cstdint>
#include <optional>

#include "ops/backend.h"
#include "parallel/communicator.h"
#include "parallel/parameters.h"
#include "parallel/token_rows.h"

namespace chorus {

// What is divided among tensor ranks: the outputs (columns of Wᵀ) or the inputs (rows of Wᵀ).
enum class Split { columns, rows };

// The trained low-rank path of a layer.
struct Adapter {
  Parameter* a = nullptr;    // [R, I]
  Parameter* b = nullptr;    // [O, R]
  float scale = 1;           // s = alpha / R, or alpha / sqrt(R)
  float dropout = 0;         // probability, on the adapter's input
  std::uint64_t seed = 0;    // of the dropout
  std::uint32_t stream = 0;  // distinguishes the adapters of a model
};

// y = x Wᵀ + s (drop(x) Aᵀ) Bᵀ,  W frozen, A and B trained (Hu et al. 2021, eq. 3). Local shapes on P tensor ranks:
//
//   split     W           A          B          partial sums over tensor ranks
//   columns   [O/P, I]    [R, I]     [O/P, R]   dx, dA
//   rows      [O, I/P]    [R, I/P]   [O, R]     y, dB
//
// The adapter's product joins the base's before the one all-reduce of y, so that LoRA adds no collective. The sum of
// dx is left to the caller, who adds several layers with one input first; dA and dB wait for the end of the step.
//
// Where the sequence is divided, a column-split layer gets its own rows of x beside the gathered ones: u = drop(x) Aᵀ
// is computed for them and gathered ([N, R] instead of [N, I]), and du is summed to them, so that backward needs no
// gathered x. Both factors' gradients stay the same partial sums.
class Linear {
 public:
  Linear(Backend& backend, Communicator& tensor, Split split, TokenDivision division = TokenDivision::none)
      : backend_(backend), tensor_(tensor), split_(split), rows_(backend, tensor, division) {}

  Weight weight;  // local part of W
  std::optional<Adapter> adapter;
  // A row-split layer multiplies its rows in so many pieces and sums each while the next is multiplied.
  int overlap_chunks = 1;

  // What backward needs beside x.
  struct Saved {
    Tensor u;  // [N, R]  drop(x) Aᵀ, of this rank's inputs
  };
  Saved take_saved(Arena& arena, std::int64_t tokens, DType dtype) const;

  // Identifies the dropout masks of a pass; without it nothing is dropped.
  struct Dropout {
    ConstTensor token_ids;  // i64 [N]
    std::uint32_t step = 0;
  };

  // The two are one tensor unless the layer is split by columns and the sequence is divided.
  struct Input {
    Input(const Tensor& x) : own(x), all(x) {}  // NOLINT: every tensor is an input
    Input(const ConstTensor& x) : own(x), all(x) {}
    Input(const ConstTensor& own, const ConstTensor& all) : own(own), all(all) {}
    ConstTensor own, all;  // [N/P, I], [N, I]
  };

  // y is complete on return; of a row-split layer with a divided sequence only the own rows.
  //                                                         x [N, I or I/P]  y [N, O/P or O]
  void forward(Tensor y, Saved& saved, const Input& x, const std::optional<Dropout>& dropout,
               Arena& arena) const;
  // dx = or += this rank's term; adds dW, dA, dB to the gradients of trained parameters.
  //                                                         x: the own rows, where the sequence is divided
  enum class Into { write, accumulate };
  void backward(Tensor dx, Into into, ConstTensor dy, ConstTensor x, const Saved& saved,
                const std::optional<Dropout>& dropout, Arena& arena) const;

 private:
  bool divides_input() const { return rows_.divided() && split_ == Split::columns; }
  // u of the adapter, all rows.
  void project_down(Tensor u, ConstTensor x, const std::optional<Dropout>& dropout, Arena& arena) const;
  // y = x Wᵀ + s u Bᵀ of the same rows.
  void multiply(Tensor y, ConstTensor x, const Saved& saved, const Shard& rows) const;
  void backward_adapter(Tensor dx, ConstTensor dy, ConstTensor x, const Saved& saved,
                        const std::optional<Dropout>& dropout, Arena& arena) const;
  // drop(x), in new memory where anything is dropped.
  ConstTensor dropped(ConstTensor x, const std::optional<Dropout>& dropout, Arena& arena) const;
  void drop(Tensor out, ConstTensor x, const Dropout& dropout) const;

  Backend& backend_;
  Communicator& tensor_;
  Split split_;
  TokenRows rows_;
};

}  // namespace chorus
