#include "ops/low_rank_composed.h"

namespace chorus::composed {

namespace {

// drop(x), in `scratch` where anything is dropped.
ConstTensor dropped(Backend& backend, ConstTensor x, ConstTensor token_ids, const DropoutMask& mask,
                    Tensor scratch) {
  if (mask.threshold() == 0) return x;
  backend.dropout(scratch, x, token_ids, mask);
  return scratch;
}

}  // namespace

void low_rank_down(Backend& backend, std::span<const LowRankDown> paths, ConstTensor x, ConstTensor token_ids,
                   Tensor scratch) {
  for (const LowRankDown& path : paths)
    backend.matmul(path.u, dropped(backend, x, token_ids, path.mask, scratch), path.a, {.transpose_b = true});
}

void low_rank_input_gradient(Backend& backend, Tensor dx, std::span<const LowRankInputGradient> paths,
                             ConstTensor token_ids, Tensor scratch) {
  for (const LowRankInputGradient& path : paths) {
    if (path.mask.threshold() == 0) {
      backend.matmul(dx, path.du, path.a, {.accumulate = true});
      continue;
    }
    backend.matmul(scratch, path.du, path.a);
    backend.dropout(scratch, scratch, token_ids, path.mask);
    backend.add(dx, dx, scratch);
  }
}

void low_rank_factor_gradient(Backend& backend, std::span<const LowRankFactorGradient> paths, ConstTensor x,
                              ConstTensor token_ids, Tensor scratch) {
  for (const LowRankFactorGradient& path : paths) {
    backend.matmul(path.da, path.du, dropped(backend, x, token_ids, path.mask, scratch),
                   {.transpose_a = true, .accumulate = true});
  }
}

}  // namespace chorus::composed
