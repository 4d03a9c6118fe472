#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/formats/peft.h"
#include "parallel/low_rank.h"

namespace chorus {

// One adapter of a whole model: the low-rank paths beside its target projections, in every layer.
class Adapters {
 public:
  // Registers the factors under PEFT's names. `seed` is of initial values and dropout.
  Adapters(const LoraConfig& lora, const ModelConfig& model, std::uint64_t seed, TokenDivision division,
           Backend& backend, Communicator& tensor, ParameterSet& parameters);

  // As LowRank does it.
  void initialise();
  // `adapter` must have been read with this configuration. Throws DataError unless it fits the model.
  void load(const PeftAdapter& adapter);

  // Null where a projection is no target.
  const LowRank* path(std::int64_t layer, Projection which) const;

 private:
  std::optional<LowRank>& place_of(std::int64_t layer, Projection which);

  LoraConfig lora_;
  ModelConfig model_;
  ParameterSet& parameters_;
  std::vector<std::optional<LowRank>> paths_;  // by layer and projection
};

}  // namespace chorus
