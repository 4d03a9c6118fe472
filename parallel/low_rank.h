#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "ops/memory.h"
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
//
// What has to do with x, paths beside layers that read the same one do together.
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

  // A path and its u, or du of the rows that take part in its input's gradient.
  struct Down {
    const LowRank* path;
    Tensor u;
  };
  // u = drop(x) Aᵀ, all rows of it. x: the own rows, where the sequence is divided.
  static void project_down(std::span<const Down> paths, ConstTensor x, const std::optional<Dropout>& dropout,
                           Arena& arena);
  // y += s u Bᵀ of the same rows.
  void project_up(Tensor y, ConstTensor u) const;
  // du, in new memory: of the own rows, where the sequence is divided. Adds dB to its gradient.
  Tensor backward_up(ConstTensor dy, ConstTensor u, Arena& arena) const;
  // dx += this rank's term, unless it is empty; adds dA to the gradients. x as above.
  static void backward_down(Tensor dx, std::span<const Down> paths, ConstTensor x,
                            const std::optional<Dropout>& dropout, Arena& arena);

  Parameter& a() const { return a_; }
  Parameter& b() const { return b_; }

 private:
  bool divides_input() const { return rows_.divided() && split_ == Split::columns; }
  bool drops(const std::optional<Dropout>& dropout) const { return dropout && options_.dropout > 0; }
  // For an input of so many features on this rank.
  DropoutMask mask(const std::optional<Dropout>& dropout, std::int64_t features) const;
  // What the operators of all `paths` need where one drops anything.
  struct Dropping {
    ConstTensor token_ids;
    Tensor scratch;
  };
  static Dropping dropping(std::span<const Down> paths, ConstTensor x, const std::optional<Dropout>& dropout,
                           Arena& arena);

  LowRankOptions options_;
  Split split_;
  Backend& backend_;
  Communicator& tensor_;
  TokenRows rows_;
  Parameter &a_, &b_;
};

}  // namespace chorus
