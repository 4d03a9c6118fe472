#pragma once

#include <cstdint>
#include <string>

#include "core/llama.h"

namespace chorus {

// Bytes one rank takes from its backend, all before the first step.
struct MemoryPlan {
  std::int64_t model = 0;        // base weights, trained values, masters and gradients, rope table
  std::int64_t optimizer = 0;    // moments
  std::int64_t activations = 0;  // everything a micro-batch needs

  std::int64_t total() const { return model + optimizer + activations; }
  std::string to_table() const;
};

// How large a pass gets.
struct PassLimits {
  std::int64_t tokens = 0;                               // N, which also bounds rows and targets
  bool training = false;                                 // with backward pass and optimizer
  std::int64_t cached_sequences = 0, cached_length = 0;  // of generation
};

// Runs the very code of the passes on a backend that computes nothing and measures what it takes.
MemoryPlan plan_memory(const ModelConfig& config, const ModelOptions& options, const ProcessGrid& grid,
                       const PassLimits& limits);

}  // namespace chorus
