#include "core/model/block.h"

#include <algorithm>

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

Depth Block::depth(const Adapters* adapters, bool beneath) const {
  const auto has = [&](Projection which) { return path(adapters, which) != nullptr; };
  if (beneath) return Depth::input;
  if (has(Projection::q) || has(Projection::k) || has(Projection::v)) return Depth::attended;
  if (has(Projection::o)) return Depth::h;
  if (has(Projection::gate) || has(Projection::up)) return Depth::product;
  return has(Projection::down) ? Depth::output : Depth::none;
}

bool Block::read_input(std::initializer_list<Projection> projections, const Adapters* adapters) const {
  return std::ranges::any_of(projections, [&](Projection which) {
    return path(adapters, which) != nullptr || linear(which).weight.trained != nullptr;
  });
}

Block::Saved Block::take_saved(Arena& arena, ConstTensor x, const Pass& pass, Depth depth, bool again) const {
  Saved saved;
  saved.depth = depth;
  saved.x = x;
  const Kept kept{
      .n = !again && read_input({Projection::q, Projection::k, Projection::v}, pass.adapters),
      .rstd1 = depth >= Depth::input,
      .heads = depth >= Depth::attended,
      .rotated = !again || !normalises_heads_,
      .attended = depth >= Depth::h,
      .h = depth >= Depth::h,
      .m = !(again && depth >= Depth::h) && read_input({Projection::gate, Projection::up}, pass.adapters),
      .gates = depth >= Depth::product,
      .product = !(again && depth >= Depth::product) && read_input({Projection::down}, pass.adapters)};
  take(saved, kept, pass, arena);
  return saved;
}

void Block::take(Saved& s, const Kept& kept, const Pass& pass, Arena& arena) const {
  const DType dtype = s.x.dtype(), acc = accumulator(dtype);
  const std::int64_t tokens = pass.positions.elements(), own = s.x.dim(0);
  const auto take = [&](bool is_kept, Tensor& tensor, DType type, const Shape& shape) {
    if (is_kept && tensor.empty()) tensor = arena.take(type, shape);
  };
  const auto take_heads = [&](Tensor& rotated, Saved::Heads& projected, std::int64_t width) {
    take(kept.heads && kept.rotated, rotated, dtype, {tokens, width});
    if (!normalises_heads_) {
      projected.x = rotated;
      return;
    }
    take(kept.heads, projected.x, dtype, {tokens, width});
    take(kept.heads, projected.rstd, acc, {tokens * width / head_width_});
  };
  take(kept.n, s.n, dtype, {own, width_});
  take(kept.rstd1, s.rstd1, acc, {own});
  take_heads(s.q, s.query, query_width_);
  take_heads(s.k, s.key, key_width_);
  take(kept.heads, s.v, dtype, {tokens, key_width_});
  take(kept.heads, s.lse, acc, {tokens, query_width_ / head_width_});
  take(kept.attended, s.attended, dtype, {tokens, query_width_});
  take(kept.h, s.h, dtype, {own, width_});
  take(kept.h, s.rstd2, acc, {own});
  take(kept.m, s.m, dtype, {own, width_});
  take(kept.gates, s.gate, dtype, {tokens, mlp_width_});
  take(kept.gates, s.up, dtype, {tokens, mlp_width_});
  take(kept.product, s.product, dtype, {tokens, mlp_width_});
  for (const Projection which : all_projections) {
    Tensor& u = s.u[index(which)];
    const LowRank* beside = path(pass.adapters, which);
    if (beside != nullptr && u.empty()) u = beside->take_u(arena, tokens, dtype);
  }
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

void Block::forward(Tensor y, ConstTensor x, const Saved& saved, const Pass& pass, const LayerCache* cache,
                    Arena& arena) const {
  Arena::Scope forgotten(arena);
  Saved s = saved;
  s.x = x;
  take(s, {}, pass, arena);
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

void Block::add_product(Tensor y, Projection which, const Saved& s, ConstTensor in, ConstTensor x,
                        const Pass& pass, Arena& arena) const {
  if (y.empty()) return project({{which, y}}, s, in, pass, arena);
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

Tensor Block::backward_heads(Tensor out, Tensor dout, const Saved::Heads& projected, const Weight& norm,
                             const Pass& pass) const {
  backend_.rope(heads(dout), pass.positions, pass.cos_sin, Rotation::backward);
  return normalises_heads_ ? backward_normalise(out, dout, projected, norm) : dout;
}

void Block::rotate(Tensor q, Tensor k, const Saved& s, const Pass& pass) const {
  if (normalises_heads_) {
    normalise(q, s.query, query_norm);
    normalise(k, s.key, key_norm);
  }
  backend_.rope(heads(q), pass.positions, pass.cos_sin, Rotation::forward);
  backend_.rope(heads(k), pass.positions, pass.cos_sin, Rotation::forward);
}

ConstTensor Block::norm_output(ConstTensor kept, ConstTensor x, const Weight& norm,
                               std::initializer_list<Projection> readers, const Pass& pass,
                               Arena& arena) const {
  if (!kept.empty() || !read_input(readers, pass.adapters)) return kept;
  const Tensor out = arena.take(x.dtype(), x.shape());
  const Tensor rstd = arena.take(accumulator(x.dtype()), {x.dim(0)});
  backend_.rms_norm(out, rstd, x, norm.value(), norm_epsilon_);
  return out;
}

ConstTensor Block::mlp_product(const Saved& s, const Pass& pass, Arena& arena) const {
  if (!s.product.empty() || !read_input({Projection::down}, pass.adapters)) return s.product;
  const Tensor product = arena.take(s.gate.dtype(), s.gate.shape());
  backend_.swiglu(product, s.gate, s.up);
  return product;
}

void Block::attend(const Saved& s, const Pass& pass, const LayerCache* cache) const {
  rotate(s.q, s.k, s, pass);
  if (pass.cache) {
    const std::int64_t rows = cache->keys.dim(0) * cache->keys.dim(1);
    backend_.scatter_rows(cache->keys.reshape({rows, key_width_}), s.k, pass.cache->rows);
    backend_.scatter_rows(cache->values.reshape({rows, key_width_}), s.v, pass.cache->rows);
    if (pass.cache->decoding) {
      // The keys of all new tokens are there already: `lengths` keeps those behind a token from its sight.
      const ConstTensor lengths = pass.cache->lengths;
      const std::int64_t sequences = cache->keys.dim(0);
      for (std::int64_t n = 0; n < lengths.elements(); n += sequences) {
        const std::int64_t end = n + sequences;
        backend_.cached_attention(heads(s.attended.rows(n, end)), heads(s.q.rows(n, end)), cache->keys,
                                  cache->values, lengths.rows(n, end));
      }
      return;
    }
  }
  backend_.attention(heads(s.attended), s.lse, heads(s.q), heads(s.k), heads(s.v), *pass.forest);
}

void Block::backward(Tensor dx, const Saved& s, const Pass& pass, Arena& arena) const {
  backward_mlp(dx, s, pass, arena);
  if (s.depth >= Depth::h) backward_attention(dx, s, pass, arena);
}

void Block::backward_mlp(Tensor dx, const Saved& s, const Pass& pass, Arena& arena) const {
  Arena::Scope scope(arena);
  const auto through_down = [&](Tensor dproduct) {
    backward_projections(dproduct, {{Projection::down, rows_.gather(dx, arena)}}, mlp_product(s, pass, arena),
                         s, pass, arena);
  };
  if (s.depth < Depth::product) return through_down({});
  const Tensor dgate = arena.take(s.gate.dtype(), s.gate.shape());
  const Tensor dup = arena.take(s.up.dtype(), s.up.shape());
  {
    Arena::Scope product_scope(arena);
    const Tensor dproduct = arena.take(s.gate.dtype(), s.gate.shape());
    through_down(dproduct);
    backend_.swiglu_backward(dgate, dup, dproduct, s.gate, s.up);
  }
  const auto through_gates = [&](Tensor dm) {
    Arena::Scope gates_scope(arena);
    const ConstTensor m = norm_output(s.m, s.h, norm2, {Projection::gate, Projection::up}, pass, arena);
    backward_projections(dm, {{Projection::gate, dgate}, {Projection::up, dup}}, m, s, pass, arena);
  };
  if (s.depth < Depth::h) return through_gates({});
  const Tensor dm = arena.take(dx.dtype(), {s.gate.dim(0), width_});
  through_gates(dm);
  backward_norm(dx, dm, s.h, norm2, s.rstd2);
}

void Block::backward_attention(Tensor dx, const Saved& s, const Pass& pass, Arena& arena) const {
  Arena::Scope scope(arena);
  const auto through_o = [&](Tensor dattended) {
    backward_projections(dattended, {{Projection::o, rows_.gather(dx, arena)}}, s.attended, s, pass, arena);
  };
  if (s.depth < Depth::attended) return through_o({});
  Tensor q = s.q, k = s.k;
  if (q.empty()) {
    q = arena.take(s.v.dtype(), s.query.x.shape());
    k = arena.take(s.v.dtype(), s.key.x.shape());
    rotate(q, k, s, pass);
  }
  Tensor dq = arena.take(q.dtype(), q.shape());
  Tensor dk = arena.take(k.dtype(), k.shape());
  const Tensor dv = arena.take(s.v.dtype(), s.v.shape());
  {
    Arena::Scope attended_scope(arena);
    const Tensor dattended = arena.take(s.attended.dtype(), s.attended.shape());
    through_o(dattended);
    backend_.attention_backward(heads(dq), heads(dk), heads(dv), heads(dattended), heads(s.attended), s.lse,
                                heads(q), heads(k), heads(s.v), *pass.forest);
  }
  const auto is_read = [&](Projection which) {
    return s.depth == Depth::input || path(pass.adapters, which) != nullptr;
  };
  if (is_read(Projection::q)) dq = backward_heads(q, dq, s.query, query_norm, pass);
  if (is_read(Projection::k)) dk = backward_heads(k, dk, s.key, key_norm, pass);
  const auto through_heads = [&](Tensor dn) {
    Arena::Scope heads_scope(arena);
    const ConstTensor n =
        norm_output(s.n, s.x, norm1, {Projection::q, Projection::k, Projection::v}, pass, arena);
    backward_projections(dn, {{Projection::q, dq}, {Projection::k, dk}, {Projection::v, dv}}, n, s, pass,
                         arena);
  };
  if (s.depth < Depth::input) return through_heads({});
  const Tensor dn = arena.take(dx.dtype(), {q.dim(0), width_});
  through_heads(dn);
  backward_norm(dx, dn, s.x, norm1, s.rstd1);
}

// dn enters as this rank's term of the sum over tensor ranks; the residual's share of dx is already complete.
void Block::backward_norm(Tensor dx, Tensor dn, ConstTensor x, const Weight& norm, ConstTensor rstd) const {
  const Tensor complete = rows_.reduce(dn);
  backend_.rms_norm_backward(dx, complete, x, norm.value(), rstd);
  if (norm.trained != nullptr) backend_.rms_norm_weight_backward(norm.trained->gradient, complete, x, rstd);
}

}  // namespace chorus
