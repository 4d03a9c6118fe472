#pragma once

#include <optional>

#include "core/model/model.h"
#include "core/planning/memory_plan.h"

namespace chorus {

// A base with the memory that its weights take on this rank. Nothing is loaded yet. It stays where it was made: its parts know
// each other by address.
struct BaseSetup {
  // Frozen weights that `in_place` stores as they are computed with stay in their files (see Llama).
  BaseSetup(const ModelConfig& config, const ModelOptions& options, Backend& backend, const Groups& groups,
            const StoredWeights& in_place = {});
  BaseSetup(const BaseSetup&) = delete;
  BaseSetup& operator=(const BaseSetup&) = delete;

  StoredWeights in_place;
  Arena weights;
  Llama llama;
};

// A model on a base, with the memory of what is trained and of its passes. One after another, several models can use one
// base.
struct ModelSetup {
  // Plans and takes the memory. Nothing is loaded yet. `options` must be those of the base in all that concerns it.
  ModelSetup(BaseSetup& base, const ModelOptions& options, const PassLimits& limits);
  ModelSetup(const ModelSetup&) = delete;
  ModelSetup& operator=(const ModelSetup&) = delete;

  MemoryPlan plan;  // that of the base included
  Arena parameters, optimizer, activations;
  Model model;
};

}  // namespace chorus
