#pragma once

#include "ops/memory.h"
#include "parallel/communicator.h"

namespace chorus {

// Who holds the rows (tokens) of what lies between the split layers: every tensor rank all N of them, or each rank
// its N/P (sequence parallelism, Korthikanti et al. 2022, section 4.2.2).
enum class TokenDivision { none, by_rank };

// Moves rows between "own" (what this rank keeps: N, or N/P where divided) and "all" N. P must divide N.
class TokenRows {
 public:
  TokenRows(Backend& backend, Communicator& tensor, TokenDivision division)
      : backend_(backend),
        tensor_(tensor),
        divided_(division == TokenDivision::by_rank && tensor.size() > 1) {}

  bool divided() const { return divided_; }
  // N must be a multiple of this.
  std::int64_t multiple() const { return divided_ ? tensor_.size() : 1; }
  std::int64_t own_count(std::int64_t tokens) const { return tokens / multiple(); }

  // The own rows within all.
  Tensor own(Tensor all) const;
  ConstTensor own(ConstTensor all) const;
  // Memory for all rows of which `own` will be kept: `own` itself, or new.
  Tensor all_for(Tensor own, Arena& arena) const;
  // All rows: `own` itself, or gathered into new memory.
  ConstTensor gather(ConstTensor own, Arena& arena) const;
  // Fills the rows of the others; this rank's are in their place.
  void gather_in_place(Tensor all) const;
  // Sums all rows over the ranks; the own ones, which are returned, are complete then.
  Tensor reduce(Tensor all) const;

 private:
  Tensor by_rank(Tensor all) const;

  Backend& backend_;
  Communicator& tensor_;
  bool divided_;
};

}  // namespace chorus
