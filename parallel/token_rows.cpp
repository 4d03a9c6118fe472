#include "parallel/token_rows.h"

namespace chorus {

Tensor TokenRows::own(Tensor all) const {
  if (!divided_) return all;
  const std::int64_t count = own_count(all.dim(0));
  return all.rows(count * tensor_.rank(), count * (tensor_.rank() + 1));
}

ConstTensor TokenRows::own(ConstTensor all) const {
  if (!divided_) return all;
  const std::int64_t count = own_count(all.dim(0));
  return all.rows(count * tensor_.rank(), count * (tensor_.rank() + 1));
}

Tensor TokenRows::all_for(Tensor own, Arena& arena) const {
  return divided_ ? arena.take(own.dtype(), {own.dim(0) * tensor_.size(), own.dim(1)}) : own;
}

ConstTensor TokenRows::gather(ConstTensor own_rows, Arena& arena) const {
  if (!divided_) return own_rows;
  const Tensor all = arena.take(own_rows.dtype(), {own_rows.dim(0) * tensor_.size(), own_rows.dim(1)});
  backend_.convert(own(all), own_rows);
  gather_in_place(all);
  return all;
}

void TokenRows::gather_in_place(Tensor all) const {
  if (divided_) tensor_.all_gather(by_rank(all));
}

Tensor TokenRows::reduce(Tensor all) const {
  if (divided_) {
    tensor_.reduce_scatter(by_rank(all));
  } else {
    tensor_.all_reduce(all);
  }
  return own(all);
}

Tensor TokenRows::by_rank(Tensor all) const {
  const std::int64_t ranks = tensor_.size();
  require(all.dim(0) % ranks == 0, all.dim(0), " rows are divided among ", ranks, " ranks");
  return all.reshape({ranks, all.dim(0) / ranks, all.dim(1)});
}

}  // namespace chorus
