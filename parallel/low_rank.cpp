#include "parallel/low_rank.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "ops/base/random.h"

namespace chorus {

namespace {

// A factor is split where the layer is, and else one term of a sum.
Placement placement(const LayerShape& layer, Split split) {
  return layer.split == split ? Placement::sharded : Placement::partially_summed;
}

}  // namespace

LowRank::LowRank(const LowRankOptions& options, const LayerShape& layer, std::string name_a,
                 std::string name_b, Backend& backend, Communicator& tensor, ParameterSet& parameters)
    : options_(options),
      split_(layer.split),
      backend_(backend),
      tensor_(tensor),
      rows_(backend, tensor, layer.division),
      a_(parameters.add(std::move(name_a), {options.rank, layer.inputs}, placement(layer, Split::rows), 1)),
      b_(parameters.add(std::move(name_b), {layer.outputs, options.rank}, placement(layer, Split::columns),
                        0)) {
  b_.is_b = true;
}

void LowRank::initialise(ParameterSet& parameters) const {
  std::vector<float> a(static_cast<std::size_t>(a_.full.elements()));
  const float bound = 1.0F / std::sqrt(static_cast<float>(a_.full[1]));
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::uint32_t word = random_word(options_.seed, RandomUse::initial_value, options_.stream, i);
    a[i] = bound * (2.0F * uniform(word) - 1.0F);
  }
  parameters.assign(a_, a);
  parameters.assign(b_, std::vector<float>(static_cast<std::size_t>(b_.full.elements())));
}

Tensor LowRank::take_u(Arena& arena, std::int64_t tokens, DType dtype) const {
  return arena.take(dtype, {tokens, options_.rank});
}

DropoutMask LowRank::mask(const std::optional<Dropout>& dropout, std::int64_t features) const {
  if (!drops(dropout)) return {};
  return {.probability = options_.dropout,
          .seed = options_.seed,
          .step = dropout->step,
          .stream = options_.stream,
          .first_feature = split_ == Split::rows ? tensor_.rank() * features : 0};
}

LowRank::Dropping LowRank::dropping(std::span<const Down> paths, ConstTensor x,
                                    const std::optional<Dropout>& dropout, Arena& arena) {
  const auto drops = [&](const Down& down) { return down.path->drops(dropout); };
  if (std::none_of(paths.begin(), paths.end(), drops)) return {};
  const LowRank& path = *paths.front().path;
  return {path.divides_input() ? path.rows_.own(dropout->token_ids) : dropout->token_ids,
          arena.take(x.dtype(), x.shape())};
}

void LowRank::project_down(std::span<const Down> paths, ConstTensor x, const std::optional<Dropout>& dropout,
                           Arena& arena) {
  if (paths.empty()) return;
  Arena::Scope scope(arena);
  const auto [token_ids, scratch] = dropping(paths, x, dropout, arena);
  std::vector<LowRankDown> down;
  for (const auto& [path, u] : paths) {
    const Tensor rows = path->divides_input() ? path->rows_.own(u) : u;
    down.push_back({rows, path->a_.value, path->mask(dropout, x.dim(1))});
  }
  paths.front().path->backend_.low_rank_down(down, x, token_ids, scratch);
  for (const auto& [path, u] : paths) {
    if (path->divides_input()) path->rows_.gather_in_place(u);
  }
}

void LowRank::project_up(Tensor y, ConstTensor u) const {
  backend_.matmul(y, u, b_.value, {.transpose_b = true, .accumulate = true, .scale = options_.scale});
}

Tensor LowRank::backward_up(ConstTensor dy, ConstTensor u, Arena& arena) const {
  const Tensor du = arena.take(u.dtype(), u.shape());
  backend_.matmul(du, dy, b_.value, {.scale = options_.scale});
  backend_.matmul(b_.gradient, dy, u, {.transpose_a = true, .accumulate = true, .scale = options_.scale});
  // With a divided sequence du is complete for the own rows from here on, and so is what it adds to dx.
  return divides_input() ? rows_.reduce(du) : du;
}

void LowRank::backward_down(Tensor dx, std::span<const Down> paths, ConstTensor x,
                            const std::optional<Dropout>& dropout, Arena& arena) {
  if (paths.empty()) return;
  Arena::Scope scope(arena);
  const auto [token_ids, scratch] = dropping(paths, x, dropout, arena);
  std::vector<LowRankFactorGradient> factors;
  std::vector<LowRankInputGradient> inputs;
  for (const auto& [path, du] : paths) {
    const DropoutMask mask = path->mask(dropout, x.dim(1));
    factors.push_back({path->a_.gradient, du, mask});
    inputs.push_back({du, path->a_.value, mask});
  }
  const LowRank& first = *paths.front().path;
  first.backend_.low_rank_factor_gradient(factors, x, token_ids, scratch);
  if (dx.empty()) return;
  first.backend_.low_rank_input_gradient(first.divides_input() ? first.rows_.own(dx) : dx, inputs, token_ids,
                                         scratch);
}

}  // namespace chorus
