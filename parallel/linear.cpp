#include "parallel/linear.h"

namespace chorus {

Linear::Saved Linear::take_saved(Arena& arena, std::int64_t tokens, DType dtype) const {
  if (!adapter) return {};
  return {arena.take(dtype, {tokens, adapter->a->full[0]})};
}

void Linear::drop(Tensor out, ConstTensor x, const Dropout& dropout) const {
  const DropoutMask mask{.probability = adapter->dropout,
                         .seed = adapter->seed,
                         .step = dropout.step,
                         .stream = adapter->stream,
                         .first_feature = split_ == Split::rows ? tensor_.rank() * x.dim(1) : 0};
  backend_.dropout(out, x, divides_input() ? rows_.own(dropout.token_ids) : dropout.token_ids, mask);
}

ConstTensor Linear::dropped(ConstTensor x, const std::optional<Dropout>& dropout, Arena& arena) const {
  if (!dropout || adapter->dropout == 0) return x;
  const Tensor kept = arena.take(x.dtype(), x.shape());
  drop(kept, x, *dropout);
  return kept;
}

void Linear::project_down(Tensor u, ConstTensor x, const std::optional<Dropout>& dropout,
                          Arena& arena) const {
  Arena::Scope scope(arena);
  backend_.matmul(divides_input() ? rows_.own(u) : u, dropped(x, dropout, arena), adapter->a->value,
                  {.transpose_b = true});
  if (divides_input()) rows_.gather_in_place(u);
}

void Linear::multiply(Tensor y, ConstTensor x, const Saved& saved, const Shard& rows) const {
  const Tensor part = y.rows(rows.begin, rows.end);
  backend_.matmul(part, x.rows(rows.begin, rows.end), weight.value(), {.transpose_b = true});
  if (!adapter) return;
  backend_.matmul(part, saved.u.rows(rows.begin, rows.end), adapter->b->value,
                  {.transpose_b = true, .accumulate = true, .scale = adapter->scale});
}

void Linear::forward(Tensor y, Saved& saved, const Input& x, const std::optional<Dropout>& dropout,
                     Arena& arena) const {
  if (adapter) project_down(saved.u, x.own, dropout, arena);
  const std::int64_t tokens = y.dim(0);
  if (split_ == Split::rows && overlap_chunks > 1 && !rows_.divided()) {
    for (int chunk = 0; chunk < overlap_chunks; ++chunk) {
      const Shard rows = shard(tokens, chunk, overlap_chunks);
      if (rows.length() == 0) continue;
      multiply(y, x.all, saved, rows);
      tensor_.begin_all_reduce(y.rows(rows.begin, rows.end));
    }
    return tensor_.finish();
  }
  multiply(y, x.all, saved, {0, tokens});
  if (split_ == Split::rows) rows_.reduce(y);
}

void Linear::backward(Tensor dx, Into into, ConstTensor dy, ConstTensor x, const Saved& saved,
                      const std::optional<Dropout>& dropout, Arena& arena) const {
  backend_.matmul(dx, dy, weight.value(), {.accumulate = into == Into::accumulate});
  if (weight.trained != nullptr) {
    require(!divides_input(), "a trained base and a divided sequence");
    backend_.matmul(weight.trained->gradient, dy, x, {.transpose_a = true, .accumulate = true});
  }
  if (adapter) backward_adapter(dx, dy, x, saved, dropout, arena);
}

void Linear::backward_adapter(Tensor dx, ConstTensor dy, ConstTensor x, const Saved& saved,
                              const std::optional<Dropout>& dropout, Arena& arena) const {
  Arena::Scope scope(arena);
  const Tensor du_all = arena.take(x.dtype(), saved.u.shape());
  backend_.matmul(du_all, dy, adapter->b->value, {.scale = adapter->scale});
  backend_.matmul(adapter->b->gradient, dy, saved.u,
                  {.transpose_a = true, .accumulate = true, .scale = adapter->scale});
  // With a divided sequence du is complete for the own rows from here on, and so is what it adds to dx.
  const Tensor du = divides_input() ? rows_.reduce(du_all) : du_all;
  const Tensor dx_own = divides_input() ? rows_.own(dx) : dx;
  backend_.matmul(adapter->a->gradient, du, dropped(x, dropout, arena),
                  {.transpose_a = true, .accumulate = true});
  if (!dropout || adapter->dropout == 0) {
    backend_.matmul(dx_own, du, adapter->a->value, {.accumulate = true});
    return;
  }
  const Tensor through_adapter = arena.take(x.dtype(), x.shape());
  backend_.matmul(through_adapter, du, adapter->a->value);
  drop(through_adapter, through_adapter, *dropout);
  backend_.add(dx_own, dx_own, through_adapter);
}

}  // namespace chorus
