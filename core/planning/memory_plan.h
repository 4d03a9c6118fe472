#pragma once

#include <cstdint>
#include <string>

#include "core/model/model.h"

namespace chorus {

// Bytes one rank computes with, all of them there before the first step: what it takes from its backend, and the base
// weights that it reads where their file is mapped, which are in memory once for all ranks of a machine.
struct MemoryPlan {
  std::int64_t in_place = 0;     // base weights in their file
  std::int64_t weights = 0;      // other base weights, rope table
  std::int64_t parameters = 0;   // trained values, masters and gradients
  std::int64_t optimizer = 0;    // moments
  std::int64_t activations = 0;  // everything a micro-batch needs

  std::int64_t model() const { return weights + parameters; }
  std::int64_t total() const { return in_place + model() + optimizer + activations; }
  std::string to_table() const;
};

// How large a pass gets.
struct PassLimits {
  std::int64_t tokens = 0;                               // N, which also bounds rows and targets
  bool training = false;                                 // with backward pass and optimizer
  std::int64_t cached_sequences = 0, cached_length = 0;  // of generation
  bool logits = false;                                   // of all tokens, without a cache
};

// Runs the very code of the passes on a backend that computes nothing and measures what it takes. `in_place` is what
// Llama will be given.
MemoryPlan plan_memory(const ModelConfig& config, const ModelOptions& options, const ProcessGrid& grid,
                       const PassLimits& limits, const StoredWeights& in_place = {});
// MemoryPlan::weights alone.
std::int64_t plan_weights(const ModelConfig& config, const ModelOptions& options, const ProcessGrid& grid,
                          const StoredWeights& in_place = {});

}  // namespace chorus
