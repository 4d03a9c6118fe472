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

// How the tokens of a pass meet a cache: all write their keys and values to it, and with `decoding` attend to what is cached
// instead of to the forest: N/B new tokens of each of B sequences, the first of all, then the second of all, and so on.
struct CacheAccess {
  ConstTensor rows;  // i32 [N] row of each token in the cache viewed as [B·S, …]
  bool decoding = false;
  ConstTensor lengths;  // i32 [N] with `decoding`: tokens of its sequence up to each, itself included
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

// How deep the backward pass goes into a block, named by the deepest of the gradients that it computes: of what is trained in
// the block, nothing lies beneath. Each includes those before it.
//
//   none       nothing in the block is trained, nor beneath it: there is no backward pass
//   output     down has an adapter, whose gradients need that of y alone
//   product    gate or up has one
//   h          o has one
//   attended   q, k or v has one
//   input      something beneath the block is trained
enum class Depth { none, output, product, h, attended, input };

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

  // To gradients of what `adapters` train here, and of what is trained `beneath`; of a trained base, all of them.
  Depth depth(const Adapters* adapters, bool beneath) const;

  // What a forward pass computes. S is N, or N/P where the sequence is divided.
  struct Saved {
    Depth depth = Depth::none;
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
  // Memory for what backward() will read; the rest is empty. With `again` also what backward() computes from that without
  // a product: what norms and the MLP's product give, and of heads that are normalised q and k.
  Saved take_saved(Arena& arena, ConstTensor x, const Pass& pass, Depth depth, bool again) const;

  // y [S, D], not x; an empty one is not computed. What `saved` has memory for is there afterwards. `cache` is for pass.cache.
  void forward(Tensor y, ConstTensor x, const Saved& saved, const Pass& pass, const LayerCache* cache,
               Arena& arena) const;
  // dx holds the gradient of y on entry, and on return that of x, where saved.depth goes so far; gradients of trained
  // parameters are added to. What is saved is used up.
  void backward(Tensor dx, const Saved& saved, const Pass& pass, Arena& arena) const;

 private:
  const Linear& linear(Projection which) const { return projections_[static_cast<std::size_t>(which)]; }
  const LowRank* path(const Adapters* adapters, Projection which) const {
    return adapters == nullptr ? nullptr : adapters->path(layer_, which);
  }
  // Whether a gradient in the weights or adapters of these needs their input.
  bool read_input(std::initializer_list<Projection> projections, const Adapters* adapters) const;
  // Which values of a forward pass to take memory for.
  struct Kept {
    bool n = true, rstd1 = true, heads = true, rotated = true, attended = true, h = true, m = true,
         gates = true, product = true;
  };
  // Those of them that are not there yet, and all of `u`.
  void take(Saved& saved, const Kept& kept, const Pass& pass, Arena& arena) const;
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
  // What enters the normalisation of heads, or their projection.
  Tensor backward_heads(Tensor out, Tensor dout, const Saved::Heads& heads, const Weight& norm,
                        const Pass& pass) const;
  // q and k as attention reads them, from what was projected.
  void rotate(Tensor q, Tensor k, const Saved& saved, const Pass& pass) const;
  // What norm1 or norm2 gave, and the MLP's product, where `readers` need it: as it was kept, or computed again.
  ConstTensor norm_output(ConstTensor kept, ConstTensor x, const Weight& norm,
                          std::initializer_list<Projection> readers, const Pass& pass, Arena& arena) const;
  ConstTensor mlp_product(const Saved& saved, const Pass& pass, Arena& arena) const;
  void attend(const Saved& saved, const Pass& pass, const LayerCache* cache) const;
  void backward_attention(Tensor dx, const Saved& saved, const Pass& pass, Arena& arena) const;
  void backward_mlp(Tensor dx, const Saved& saved, const Pass& pass, Arena& arena) const;
  // y = x + the row-split layer's product of `in`.           y, x [S, D]  in [N, …]
  void add_product(Tensor y, Projection which, const Saved& saved, ConstTensor in, ConstTensor x,
                   const Pass& pass, Arena& arena) const;
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
