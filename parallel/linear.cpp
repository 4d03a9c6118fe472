#include "parallel/linear.h"

namespace chorus {

void Linear::multiply(Tensor y, ConstTensor x, ConstTensor u, const Addition& addition,
                      const Shard& rows) const {
  const Tensor part = y.rows(rows.begin, rows.end);
  backend_.matmul(part, x.rows(rows.begin, rows.end), weight.value(), {.transpose_b = true});
  if (addition.path != nullptr) addition.path->project_up(part, u.rows(rows.begin, rows.end));
}

void Linear::forward(Tensor y, Tensor u, const Input& x, const Addition& addition, Arena& arena) const {
  if (addition.path != nullptr) addition.path->project_down(u, x.own, addition.dropout, arena);
  const std::int64_t tokens = y.dim(0);
  if (split_ == Split::rows && overlap_chunks > 1 && !rows_.divided()) {
    for (int chunk = 0; chunk < overlap_chunks; ++chunk) {
      const Shard rows = shard(tokens, chunk, overlap_chunks);
      if (rows.length() == 0) continue;
      multiply(y, x.all, u, addition, rows);
      tensor_.begin_all_reduce(y.rows(rows.begin, rows.end));
    }
    return tensor_.finish();
  }
  multiply(y, x.all, u, addition, {0, tokens});
  if (split_ == Split::rows) rows_.reduce(y);
}

void Linear::backward(Tensor dx, Into into, ConstTensor dy, ConstTensor x, ConstTensor u,
                      const Addition& addition, Arena& arena) const {
  backend_.matmul(dx, dy, weight.value(), {.accumulate = into == Into::accumulate});
  if (weight.trained != nullptr) {
    require(!rows_.divided(), "a trained base and a divided sequence");
    backend_.matmul(weight.trained->gradient, dy, x, {.transpose_a = true, .accumulate = true});
  }
  if (addition.path != nullptr) addition.path->backward(dx, dy, x, u, addition.dropout, arena);
}

}  // namespace chorus
