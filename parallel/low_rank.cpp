#include "parallel/low_rank.h"

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
                        0)) {}

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

void LowRank::drop(Tensor out, ConstTensor x, const Dropout& dropout) const {
  const DropoutMask mask{.probability = options_.dropout,
                         .seed = options_.seed,
                         .step = dropout.step,
                         .stream = options_.stream,
                         .first_feature = split_ == Split::rows ? tensor_.rank() * x.dim(1) : 0};
  backend_.dropout(out, x, divides_input() ? rows_.own(dropout.token_ids) : dropout.token_ids, mask);
}

ConstTensor LowRank::dropped(ConstTensor x, const std::optional<Dropout>& dropout, Arena& arena) const {
  if (!dropout || options_.dropout == 0) return x;
  const Tensor kept = arena.take(x.dtype(), x.shape());
  drop(kept, x, *dropout);
  return kept;
}

void LowRank::project_down(Tensor u, ConstTensor x, const std::optional<Dropout>& dropout,
                           Arena& arena) const {
  Arena::Scope scope(arena);
  backend_.matmul(divides_input() ? rows_.own(u) : u, dropped(x, dropout, arena), a_.value,
                  {.transpose_b = true});
  if (divides_input()) rows_.gather_in_place(u);
}

void LowRank::project_up(Tensor y, ConstTensor u) const {
  backend_.matmul(y, u, b_.value, {.transpose_b = true, .accumulate = true, .scale = options_.scale});
}

void LowRank::backward(Tensor dx, ConstTensor dy, ConstTensor x, ConstTensor u,
                       const std::optional<Dropout>& dropout, Arena& arena) const {
  Arena::Scope scope(arena);
  const Tensor du_all = arena.take(x.dtype(), u.shape());
  backend_.matmul(du_all, dy, b_.value, {.scale = options_.scale});
  backend_.matmul(b_.gradient, dy, u, {.transpose_a = true, .accumulate = true, .scale = options_.scale});
  // With a divided sequence du is complete for the own rows from here on, and so is what it adds to dx.
  const Tensor du = divides_input() ? rows_.reduce(du_all) : du_all;
  const Tensor dx_own = divides_input() ? rows_.own(dx) : dx;
  backend_.matmul(a_.gradient, du, dropped(x, dropout, arena), {.transpose_a = true, .accumulate = true});
  if (!dropout || options_.dropout == 0) {
    backend_.matmul(dx_own, du, a_.value, {.accumulate = true});
    return;
  }
  const Tensor through_path = arena.take(x.dtype(), x.shape());
  backend_.matmul(through_path, du, a_.value);
  drop(through_path, through_path, *dropout);
  backend_.add(dx_own, dx_own, through_path);
}

}  // namespace chorus
