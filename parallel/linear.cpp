#include "parallel/linear.h"

#include <vector>

namespace chorus {

void Linear::forward(std::span<const Forward> layers, const Input& x, const std::optional<Dropout>& dropout,
                     Arena& arena) {
  std::vector<LowRank::Down> paths;
  for (const Forward& one : layers) {
    if (one.added.path != nullptr) paths.push_back(one.added);
  }
  LowRank::project_down(paths, x.own, dropout, arena);
  for (const Forward& one : layers) {
    if (!one.y.empty()) one.layer->project(one.y, x.all, one.added, arena);
  }
}

void Linear::add_to_product(Tensor y, const LowRank::Down& added, const Shard& rows) const {
  const Tensor part = y.rows(rows.begin, rows.end);
  if (added.path != nullptr) added.path->project_up(part, added.u.rows(rows.begin, rows.end));
  if (bias) {
    require(split_ == Split::columns, "a bias of a layer whose products are summed over ranks");
    backend_.add_bias(part, bias->value());
  }
}

void Linear::project(Tensor y, ConstTensor x, const LowRank::Down& added, Arena& arena) const {
  const std::int64_t tokens = y.dim(0);
  if (split_ == Split::rows && overlap_chunks > 1 && !rows_.divided()) {
    Arena::Scope scope(arena);
    const ConstTensor w = weight.value(backend_, x.dtype(), arena);
    for (int chunk = 0; chunk < overlap_chunks; ++chunk) {
      const Shard rows = shard(tokens, chunk, overlap_chunks);
      if (rows.length() == 0) continue;
      backend_.matmul(y.rows(rows.begin, rows.end), x.rows(rows.begin, rows.end), w, {.transpose_b = true});
      add_to_product(y, added, rows);
      tensor_.begin_all_reduce(y.rows(rows.begin, rows.end));
    }
    return tensor_.finish();
  }
  weight.multiply(y, x, backend_, arena);
  add_to_product(y, added, {0, tokens});
  if (split_ == Split::rows) rows_.reduce(y);
}

void Linear::backward(Tensor dx, std::span<const Backward> layers, ConstTensor x,
                      const std::optional<Dropout>& dropout, Arena& arena) {
  Arena::Scope scope(arena);
  std::vector<LowRank::Down> paths;
  for (const auto& [layer, dy, added] : layers) {
    if (!dx.empty()) {
      Arena::Scope product_scope(arena);
      const ConstTensor w = layer->weight.value(layer->backend_, dy.dtype(), arena);
      layer->backend_.matmul(dx, dy, w, {.accumulate = layer != layers.front().layer});
    }
    if (layer->weight.trained != nullptr) {
      require(!layer->rows_.divided(), "a trained base and a divided sequence");
      layer->backend_.matmul(layer->weight.trained->gradient, dy, x,
                             {.transpose_a = true, .accumulate = true});
    }
    if (layer->bias && layer->bias->trained != nullptr)
      layer->backend_.bias_backward(layer->bias->trained->gradient, dy);
    if (added.path != nullptr) paths.push_back({added.path, added.path->backward_up(dy, added.u, arena)});
  }
  LowRank::backward_down(dx, paths, x, dropout, arena);
}

}  // namespace chorus
