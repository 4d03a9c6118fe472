#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ops/backend.h"
#include "parallel/communicator.h"
#include "parallel/parameters.h"
#include "parallel/token_rows.h"

namespace chorus {

// Identifies the dropout masks of a pass; without it nothing is dropped.
struct Dropout {
  ConstTensor token_ids;  // i64 [N]
  std::uint32_t step = 0;
};

struct LowRankOptions {
  std::int64_t rank = 0;     // R
  float scale = 1;           // s = alpha / R, or alpha / sqrt(R)
  float dropout = 0;         // probability, on the input
  std::uint64_t seed = 0;    // of initial values and dropout
  std::uint32_t stream = 0;  // distinguishes the paths of a model
};

// A linear layer as a path beside it sees it.
struct LayerShape {
  std::int64_t outputs = 0, inputs = 0;  // O, I, undivided
  Split split = Split::columns;
  TokenDivision division = TokenDivision::none;
};

// The trained low-rank path beside a linear layer: y += s (drop(x) Aᵀ) Bᵀ (Hu et al. 2021, eq. 3). Local shapes on P tensor
// ranks follow those of the layer:
//
//   split     A          B          partial sums over tensor ranks
//   columns   [R, I]     [O/P, R]   dx, dA
//   rows      [R, I/P]   [O, R]     y, dB
//
// Its product joins the base's before the one all-reduce of y, so that LoRA adds no collective; dA and dB wait for the end
// of the step.
//
// Where the sequence is divided, a column-split layer gets its own rows of x beside the gathered ones: u = drop(x) Aᵀ is
// computed for them and gathered ([N, R] instead of [N, I]), and du is summed to them, so that backward needs no gathered
// x. Both factors' gradients stay the same partial sums.
class LowRank {
 public:
  // Registers A and B under these names.
  LowRank(const LowRankOptions& options, const LayerShape& layer, std::string name_a, std::string name_b,
          Backend& backend, Communicator& tensor, ParameterSet& parameters);

  // A: Kaiming-uniform over the full fan-in, U(-1/√I, 1/√I); B: zero (PEFT's default). A function of the seed and the
  // element's global index.
  void initialise(ParameterSet& parameters) const;

  // Memory for u of all rows.                               [N, R]
  Tensor take_u(Arena& arena, std::int64_t tokens, DType dtype) const;
  // u = drop(x) Aᵀ, all rows of it. x: the own rows, where the sequence is divided.
  void project_down(Tensor u, ConstTensor x, const std::optional<Dropout>& dropout, Arena& arena) const;
  // y += s u Bᵀ of the same rows.
  void project_up(Tensor y, ConstTensor u) const;
  // dx += this rank's term; adds dA and dB to the gradients. x as above.
  void backward(Tensor dx, ConstTensor dy, ConstTensor x, ConstTensor u,
                const std::optional<Dropout>& dropout, Arena& arena) const;

  Parameter& a() const { return a_; }
  Parameter& b() const { return b_; }

 private:
  bool divides_input() const { return rows_.divided() && split_ == Split::columns; }
  // drop(x), in new memory where anything is dropped.
  ConstTensor dropped(ConstTensor x, const std::optional<Dropout>& dropout, Arena& arena) const;
  void drop(Tensor out, ConstTensor x, const Dropout& dropout) const;

  LowRankOptions options_;
  Split split_;
  Backend& backend_;
  Communicator& tensor_;
  TokenRows rows_;
  Parameter &a_, &b_;
};

}  // namespace chorus
