#include "core/model/block.h"

namespace chorus {

namespace {

constexpr std::size_t index(Projection which) { return static_cast<std::size_t>(which); }

}  // namespace

Block::Block(const ModelConfig& config, std::int64_t layer, Backend& backend, Communicator& tensor,
             TokenDivision division)
    : layer_(layer),
      backend_(backend),
      rows_(backend, tensor, division),
      width_(config.hidden_size),
      query_width_(config.query_heads * config.head_width / tensor.size()),
      key_width_(config.key_value_heads * config.head_width / tensor.size()),
      mlp_width_(config.intermediate_size / tensor.size()),
      head_width_(config.head_width),
      norm_epsilon_(config.norm_epsilon),
      normalises_heads_(has_head_norms(config)) {
  for (const Projection which : all_projections)
    projections_.emplace_back(backend, tensor, split_of(which), division);
}

Block::Saved Block::take_saved(Arena& arena, std::int64_t tokens, DType dtype,
                               const Adapters* adapters) const {
  const DType acc = accumulator(dtype);
  const std::int64_t own = rows_.own_count(tokens);
  const auto take = [&](std::int64_t width) { return arena.take(dtype, {tokens, width}); };
  const auto take_own = [&] { return arena.take(dtype, {own, width_}); };
  Saved saved;
  saved.n = take_own();
  saved.rstd1 = arena.take(acc, {own});
  saved.q = take(query_width_);
  saved.k = take(key_width_);
  saved.v = take(key_width_);
  saved.query.x = saved.q;
  saved.key.x = saved.k;
  if (normalises_heads_) {
    saved.query = {take(query_width_), arena.take(acc, {tokens * query_width_ / head_width_})};
    saved.key = {take(key_width_), arena.take(acc, {tokens * key_width_ / head_width_})};
  }
  saved.attended = take(query_width_);
  saved.lse = arena.take(acc, {tokens, query_width_ / head_width_});
  saved.h = take_own();
  saved.m = take_own();
  saved.rstd2 = arena.take(acc, {own});
  saved.gate = take(mlp_width_);
  saved.up = take(mlp_width_);
  saved.product = take(mlp_width_);
  for (const Projection which : all_projections) {
    if (const LowRank* beside = path(adapters, which))
      saved.u[index(which)] = beside->take_u(arena, tokens, dtype);
  }
  return saved;
}

void Block::project(const Outputs& outputs, const Saved& saved, const Linear::Input& in, const Pass& pass,
                    Arena& arena) const {
  std::vector<Linear::Forward> layers;
  for (const auto& [which, out] : outputs)
    layers.push_back({&linear(which), out, {path(pass.adapters, which), saved.u[index(which)]}});
  Linear::forward(layers, in, pass.dropout, arena);
}

void Block::backward_projections(Tensor din, const Gradients& gradients, ConstTensor in, const Saved& saved,
                                 const Pass& pass, Arena& arena) const {
  std::vector<Linear::Backward> layers;
  for (const auto& [which, dout] : gradients)
    layers.push_back({&linear(which), dout, {path(pass.adapters, which), saved.u[index(which)]}});
  Linear::backward(din, layers, in, pass.dropout, arena);
}

void Block::forward(Tensor y, Saved& s, ConstTensor x, const Pass& pass, const LayerCache* cache,
                    Arena& arena) const {
  s.x = x;
  {
    Arena::Scope scope(arena);
    backend_.rms_norm(s.n, s.rstd1, x, norm1.value(), norm_epsilon_);
    const Linear::Input n(s.n, rows_.gather(s.n, arena));
    project({{Projection::q, s.query.x}, {Projection::k, s.key.x}, {Projection::v, s.v}}, s, n, pass, arena);
  }
  attend(s, pass, cache);
  add_product(s.h, Projection::o, s, s.attended, x, pass, arena);
  {
    Arena::Scope scope(arena);
    backend_.rms_norm(s.m, s.rstd2, s.h, norm2.value(), norm_epsilon_);
    const Linear::Input m(s.m, rows_.gather(s.m, arena));
    project({{Projection::gate, s.gate}, {Projection::up, s.up}}, s, m, pass, arena);
  }
  backend_.swiglu(s.product, s.gate, s.up);
  add_product(y, Projection::down, s, s.product, s.h, pass, arena);
}

void Block::add_product(Tensor y, Projection which, Saved& s, ConstTensor in, ConstTensor x, const Pass& pass,
                        Arena& arena) const {
  Arena::Scope scope(arena);
  const Tensor product = rows_.all_for(y, arena);
  project({{which, product}}, s, in, pass, arena);
  backend_.add(y, rows_.own(product), x);
}

void Block::normalise(Tensor out, const Saved::Heads& heads, const Weight& norm) const {
  const Shape rows = row_per_head(out);
  backend_.rms_norm(out.reshape(rows), heads.rstd, heads.x.reshape(rows), norm.value(), norm_epsilon_);
}

Tensor Block::backward_normalise(Tensor out, ConstTensor dout, const Saved::Heads& heads,
                                 const Weight& norm) const {
  const Shape rows = row_per_head(out);
  const ConstTensor x = heads.x.reshape(rows), dnormalised = dout.reshape(rows);
  backend_.fill(out, 0);
  backend_.rms_norm_backward(out.reshape(rows), dnormalised, x, norm.value(), heads.rstd);
  if (norm.trained != nullptr)
    backend_.rms_norm_weight_backward(norm.trained->gradient, dnormalised, x, heads.rstd);
  return out;
}

void Block::attend(Saved& s, const Pass& pass, const LayerCache* cache) const {
  if (normalises_heads_) {
    normalise(s.q, s.query, query_norm);
    normalise(s.k, s.key, key_norm);
  }
  backend_.rope(heads(s.q), pass.positions, pass.cos_sin, Rotation::forward);
  backend_.rope(heads(s.k), pass.positions, pass.cos_sin, Rotation::forward);
  if (pass.cache) {
    const std::int64_t rows = cache->keys.dim(0) * cache->keys.dim(1);
    backend_.scatter_rows(cache->keys.reshape({rows, key_width_}), s.k, pass.cache->rows);
    backend_.scatter_rows(cache->values.reshape({rows, key_width_}), s.v, pass.cache->rows);
    if (pass.cache->decoding) {
      backend_.cached_attention(heads(s.attended), heads(s.q), cache->keys, cache->values,
                                pass.cache->lengths);
      return;
    }
  }
  backend_.attention(heads(s.attended), s.lse, heads(s.q), heads(s.k), heads(s.v), *pass.forest);
}

void Block::backward(Tensor dx, const Saved& s, const Pass& pass, Arena& arena) const {
  backward_mlp(dx, s, pass, arena);
  backward_attention(dx, s, pass, arena);
}

void Block::backward_mlp(Tensor dx, const Saved& s, const Pass& pass, Arena& arena) const {
  Arena::Scope scope(arena);
  const Tensor dgate = arena.take(s.gate.dtype(), s.gate.shape());
  const Tensor dup = arena.take(s.up.dtype(), s.up.shape());
  {
    Arena::Scope product_scope(arena);
    const Tensor dproduct = arena.take(s.product.dtype(), s.product.shape());
    backward_projections(dproduct, {{Projection::down, rows_.gather(dx, arena)}}, s.product, s, pass, arena);
    backend_.swiglu_backward(dgate, dup, dproduct, s.gate, s.up);
  }
  const Tensor dm = arena.take(dx.dtype(), {s.gate.dim(0), width_});
  backward_projections(dm, {{Projection::gate, dgate}, {Projection::up, dup}}, s.m, s, pass, arena);
  backward_norm(dx, dm, s.h, norm2, s.rstd2);
}

void Block::backward_attention(Tensor dx, const Saved& s, const Pass& pass, Arena& arena) const {
  Arena::Scope scope(arena);
  Tensor dq = arena.take(s.q.dtype(), s.q.shape());
  Tensor dk = arena.take(s.k.dtype(), s.k.shape());
  const Tensor dv = arena.take(s.v.dtype(), s.v.shape());
  {
    Arena::Scope attended_scope(arena);
    const Tensor dattended = arena.take(s.attended.dtype(), s.attended.shape());
    backward_projections(dattended, {{Projection::o, rows_.gather(dx, arena)}}, s.attended, s, pass, arena);
    backend_.attention_backward(heads(dq), heads(dk), heads(dv), heads(dattended), heads(s.attended), s.lse,
                                heads(s.q), heads(s.k), heads(s.v), *pass.forest);
  }
  backend_.rope(heads(dq), pass.positions, pass.cos_sin, Rotation::backward);
  backend_.rope(heads(dk), pass.positions, pass.cos_sin, Rotation::backward);
  if (normalises_heads_) {
    dq = backward_normalise(s.q, dq, s.query, query_norm);
    dk = backward_normalise(s.k, dk, s.key, key_norm);
  }
  const Tensor dn = arena.take(dx.dtype(), {s.q.dim(0), width_});
  backward_projections(dn, {{Projection::q, dq}, {Projection::k, dk}, {Projection::v, dv}}, s.n, s, pass,
                       arena);
  backward_norm(dx, dn, s.x, norm1, s.rstd1);
}

// dn enters as this rank's term of the sum over tensor ranks; the residual's share of dx is already complete.
void Block::backward_norm(Tensor dx, Tensor dn, ConstTensor x, const Weight& norm, ConstTensor rstd) const {
  const Tensor complete = rows_.reduce(dn);
  backend_.rms_norm_backward(dx, complete, x, norm.value(), rstd);
  if (norm.trained != nullptr) backend_.rms_norm_weight_backward(norm.trained->gradient, complete, x, rstd);
}

}  // namespace chorus
