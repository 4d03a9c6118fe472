#pragma once

#include <cstdint>

#include "core/model/llama.h"

namespace chorus {

// What a training step computes, counted once for all ranks.
struct StepWork {
  std::int64_t tokens = 0;          // computed, shared prefixes once
  std::int64_t rows = 0;            // that went through the output projection
  std::int64_t attended_pairs = 0;  // of the forests, causal
};

// Floating-point operations of a training step by the model's equations, recomputation not counted:
//   LoRA  4 (N_linear · tokens + N_head · rows) + 6 N_lora · tokens + 3 A
//   full  6 (N_linear · tokens + N_head · rows)                     + 3 A
// where N are parameters and A = 4 · layers · Hq · K · pairs is the forward pass of attention. Frozen weights need no
// gradient, hence 4 in place of 6.
double training_flops(const ModelConfig& config, const ModelOptions& options, const StepWork& work);

}  // namespace chorus
