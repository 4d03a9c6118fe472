#include "core/model/adapters.h"

#include "core/formats/model_tensors.h"

namespace chorus {

namespace {

std::size_t index(std::int64_t layer, Projection which) {
  return static_cast<std::size_t>(layer) * all_projections.size() + static_cast<std::size_t>(which);
}

}  // namespace

Adapters::Adapters(const LoraConfig& lora, const ModelConfig& model, std::uint64_t seed,
                   TokenDivision division, Backend& backend, Communicator& tensor, ParameterSet& parameters)
    : lora_(lora), model_(model), parameters_(parameters), paths_(index(model.layers, Projection::q)) {
  for (const auto& [layer, which, path] : paths_of(lora, model.layers)) {
    const Features size = features(model, which);
    const LowRankOptions options{.rank = path.rank,
                                 .scale = static_cast<float>(path.scale),
                                 .dropout = static_cast<float>(lora.dropout),
                                 .seed = seed,
                                 .stream = static_cast<std::uint32_t>(index(layer, which))};
    place_of(layer, which)
        .emplace(options, LayerShape{size.outputs, size.inputs, split_of(which), division},
                 peft_tensor_name(layer, which, LoraFactor::a), peft_tensor_name(layer, which, LoraFactor::b),
                 backend, tensor, parameters);
  }
}

void Adapters::initialise() {
  for (const std::optional<LowRank>& path : paths_) {
    if (path) path->initialise(parameters_);
  }
}

void Adapters::load(const PeftAdapter& adapter) {
  require_fits(adapter, model_);
  for (std::int64_t layer = 0; layer < model_.layers; ++layer) {
    for (const Projection which : lora_.targets) {
      const std::optional<LowRank>& path = place_of(layer, which);
      if (!path) continue;
      parameters_.assign(path->a(), adapter.values(layer, which, LoraFactor::a));
      parameters_.assign(path->b(), adapter.values(layer, which, LoraFactor::b));
    }
  }
}

const LowRank* Adapters::path(std::int64_t layer, Projection which) const {
  const std::optional<LowRank>& path = paths_[index(layer, which)];
  return path ? &*path : nullptr;
}

std::optional<LowRank>& Adapters::place_of(std::int64_t layer, Projection which) {
  return paths_[index(layer, which)];
}

}  // namespace chorus
