#pragma once

#include "ops/base/random.h"
#include "ops/tensor.h"

namespace chorus {

// What a low-rank path y += s (drop(x) aᵀ) bᵀ beside a linear layer does with its input x (Hu et al. 2021, eq. 3). Layers
// that read the same x ask for it together, each path with a factor and a mask of its own, so that a backend can read and
// write what is wide once for all of them.  x, dx [N, I]  a [R, I]  u, du [N, R], all float  da acc [R, I]
struct LowRankDown {  // u = drop(x) aᵀ
  Tensor u;
  ConstTensor a;
  DropoutMask mask;  // of probability 0: nothing is dropped
};
struct LowRankInputGradient {  // dx += drop(du a)
  ConstTensor du, a;
  DropoutMask mask;
};
struct LowRankFactorGradient {  // da += duᵀ drop(x)
  Tensor da;
  ConstTensor du;
  DropoutMask mask;
};

}  // namespace chorus
