#pragma once

#include <array>
#include <initializer_list>
#include <optional>
#include <utility>

#include "core/formats/model_tensors.h"
#include "core/model/adapters.h"
#include "core/model/device_batch.h"
#include "parallel/linear.h"

namespace chorus {

// Keys and values of B sequences of up to S tokens in one layer.
struct LayerCache {
  Tensor keys, values;  // [B, S, Hk/P, K]
};

// How the tokens of a pass meet a cache: all write their keys and values to it, and with `decoding`, one new token per
// sequence then attends to what is cached instead of to the forest.
struct CacheAccess {
  ConstTensor rows;  // i32 [N] row of each token in the cache viewed as [B·S, …]
  bool decoding = false;
  ConstTensor lengths;  // i32 [B] with `decoding`: tokens of each sequence, the new one included
};

// What a block reads beside its input.
struct Pass {
  const Forest* forest = nullptr;
  ConstTensor positions;  // i32 [N]
  ConstTensor cos_sin;    // acc [positions, K]
  const Adapters* adapters = nullptr;
  std::optional<Dropout> dropout;    // of the adapters, while training
  std::optional<CacheAccess> cache;  // while generating
};

// One LLaMA block (Touvron et al. 2023, section 2.2), on one rank of P:
//
//   h = x + Wo attention(rope(Wq n), rope(Wk n), Wv n)      n = norm1(x)
//   y = h + Wdown (silu(Wgate m) · Wup m)                    m = norm2(h)
//
// Qwen2 adds biases to Wq n, Wk n and Wv n; Qwen3 normalises each head of Wq n and of Wk n before it is rotated.
class Block {
 public:
  // `layer` counts from 0.
  Block(const ModelConfig& config, std::int64_t layer, Backend& backend, Communicator& tensor,
        TokenDivision division);

  Linear& projection(Projection which) { return projections_[static_cast<std::size_t>(which)]; }
  Weight norm1, norm2;          // [D]
  Weight query_norm, key_norm;  // [K], of Qwen3

  // Everything backward needs. All but x is taken by take_saved(). S is N, or N/P where the sequence is divided.
  struct Saved {
    ConstTensor x;    // [S, D]
    Tensor n, rstd1;  // [S, D], acc [S]
    Tensor q, k, v;   // [N, Hq/P · K], [N, Hk/P · K] twice; q and k rotated
    // What is projected, and acc [N · Hq/P] or [N · Hk/P]; where heads are not normalised, q or k itself and nothing.
    struct Heads {
      Tensor x, rstd;
    };
    Heads query, key;
    Tensor attended, lse;      // [N, Hq/P · K], acc [N, Hq/P]
    Tensor h;                  // [S, D]
    Tensor m, rstd2;           // [S, D], acc [S]
    Tensor gate, up, product;  // [N, F/P]
    std::array<Tensor, 7> u;   // [N, R] of the adapters, by Projection
  };
  Saved take_saved(Arena& arena, std::int64_t tokens, DType dtype, const Adapters* adapters) const;

  // y [S, D] may not be x. `cache` is used where pass.cache is set.
  void forward(Tensor y, Saved& saved, ConstTensor x, const Pass& pass, const LayerCache* cache,
               Arena& arena) const;
  // dx holds the gradient of y on entry and of x on return; gradients of trained parameters are added to. What
  // is saved is used up.
  void backward(Tensor dx, const Saved& saved, const Pass& pass, Arena& arena) const;

 private:
  const Linear& linear(Projection which) const { return projections_[static_cast<std::size_t>(which)]; }
  const LowRank* path(const Adapters* adapters, Projection which) const {
    return adapters == nullptr ? nullptr : adapters->path(layer_, which);
  }
  // Projections of the same input, and what they give.
  using Outputs = std::initializer_list<std::pair<Projection, Tensor>>;
  void project(const Outputs& outputs, const Saved& saved, const Linear::Input& in, const Pass& pass,
               Arena& arena) const;
  using Gradients = std::initializer_list<std::pair<Projection, ConstTensor>>;
  void backward_projections(Tensor din, const Gradients& gradients, ConstTensor in, const Saved& saved,
                            const Pass& pass, Arena& arena) const;
  void normalise(Tensor out, const Saved::Heads& heads, const Weight& norm) const;
  // dx of heads from dout, over what normalise() gave.
  Tensor backward_normalise(Tensor out, ConstTensor dout, const Saved::Heads& heads,
                            const Weight& norm) const;
  void attend(Saved& saved, const Pass& pass, const LayerCache* cache) const;
  void backward_attention(Tensor dx, const Saved& saved, const Pass& pass, Arena& arena) const;
  void backward_mlp(Tensor dx, const Saved& saved, const Pass& pass, Arena& arena) const;
  // y = x + the row-split layer's product of `in`.           y, x [S, D]  in [N, …]
  void add_product(Tensor y, Projection which, Saved& saved, ConstTensor in, ConstTensor x, const Pass& pass,
                   Arena& arena) const;
  void backward_norm(Tensor dx, Tensor dn, ConstTensor x, const Weight& norm, ConstTensor rstd) const;
  Tensor heads(Tensor x) const { return x.reshape({x.dim(0), x.dim(1) / head_width_, head_width_}); }
  Shape row_per_head(ConstTensor x) const { return {x.elements() / head_width_, head_width_}; }

  std::int64_t layer_;
  Backend& backend_;
  TokenRows rows_;
  std::int64_t width_, query_width_, key_width_, mlp_width_, head_width_;  // D, Hq/P · K, Hk/P · K, F/P, K
  double norm_epsilon_;
  bool normalises_heads_;
  std::vector<Linear> projections_;  // by Projection
};

}  // namespace chorus
