#include "parallel/linear.h"

namespace chorus {

Linear::Saved Linear::take_saved(Arena& arena, std::int64_t tokens, DType dtype) const {
  if (!adapter) return {};
  return {arena.take(dtype, {tokens, adapter->a->full[0]})};
}

DropoutMask Linear::mask(const Dropout& dropout, std::int64_t local_inputs) const {
  return {.probability = adapter->dropout,
          .seed = adapter->seed,
          .step = dropout.step,
          .stream = adapter->stream,
          .first_feature = split_ == Split::rows ? tensor_.rank() * local_inputs : 0};
}

ConstTensor Linear::dropped(ConstTensor x, const std::optional<Dropout>& dropout, Arena& arena) const {
  if (!dropout || adapter->dropout == 0) return x;
  const Tensor kept = arena.take(x.dtype(), x.shape());
  backend_.dropout(kept, x, dropout->token_ids, mask(*dropout, x.dim(1)));
  return kept;
}

void Linear::forward(Tensor y, Saved& saved, ConstTensor x, const std::optional<Dropout>& dropout,
                     Arena& arena) const {
  backend_.matmul(y, x, weight.value(), {.transpose_b = true});
  if (adapter) {
    Arena::Scope scope(arena);
    backend_.matmul(saved.u, dropped(x, dropout, arena), adapter->a->value, {.transpose_b = true});
    backend_.matmul(y, saved.u, adapter->b->value,
                    {.transpose_b = true, .accumulate = true, .scale = adapter->scale});
  }
  if (split_ == Split::rows) tensor_.all_reduce(y);
}

void Linear::backward(Tensor dx, Into into, ConstTensor dy, ConstTensor x, const Saved& saved,
                      const std::optional<Dropout>& dropout, Arena& arena) const {
  backend_.matmul(dx, dy, weight.value(), {.accumulate = into == Into::accumulate});
  if (weight.trained != nullptr) {
    backend_.matmul(weight.trained->gradient, dy, x, {.transpose_a = true, .accumulate = true});
  }
  if (!adapter) return;
  Arena::Scope scope(arena);
  const Tensor du = arena.take(x.dtype(), saved.u.shape());
  backend_.matmul(du, dy, adapter->b->value, {.scale = adapter->scale});
  backend_.matmul(adapter->b->gradient, dy, saved.u,
                  {.transpose_a = true, .accumulate = true, .scale = adapter->scale});
  backend_.matmul(adapter->a->gradient, du, dropped(x, dropout, arena),
                  {.transpose_a = true, .accumulate = true});
  if (!dropout || adapter->dropout == 0) {
    backend_.matmul(dx, du, adapter->a->value, {.accumulate = true});
    return;
  }
  const Tensor through_adapter = arena.take(x.dtype(), x.shape());
  backend_.matmul(through_adapter, du, adapter->a->value);
  backend_.dropout(through_adapter, through_adapter, dropout->token_ids, mask(*dropout, x.dim(1)));
  backend_.add(dx, dx, through_adapter);
}

}  // namespace chorus
