#pragma once

#include <cstdint>

#include "core/planning/memory_plan.h"

namespace chorus {

// What the bytes of a training's MemoryPlan are for. The parts add up to its total exactly.
struct MemoryKinds {
  std::int64_t in_place = 0;  // frozen weights in their file
  // Model arena. Trained weights of --method full count as values.
  std::int64_t weights = 0;     // other frozen ones
  std::int64_t values = 0;      // of trained tensors; 0 where the masters are what is computed with (f32)
  std::int64_t masters = 0;     // acc
  std::int64_t gradients = 0;   // acc
  std::int64_t rope_table = 0;  // and the scratch of norms
  std::int64_t moments = 0;     // optimizer arena
  // Activations of the largest micro-batch, when they are most.
  std::int64_t batch = 0;  // tokens, targets, features, log probabilities
  std::int64_t residuals =
      0;                   // the inputs of blocks that go backward, the last one's output, and one gradient
  std::int64_t saved = 0;  // what the blocks keep for backward: of all, or of one with Recompute::all
  std::int64_t workspace =
      0;  // the larger of what the loss and the backward pass of one block take beside these, and what
          // a projector keeps

  // Parts of the above, to see what an option would change.
  std::int64_t saved_per_block = 0;  // of the one that keeps most
  std::int64_t logits = 0;           // and their gradient, of one chunk of rows

  std::int64_t total() const {
    return in_place + weights + values + masters + gradients + rope_table + moments + batch + residuals +
           saved + workspace;
  }
};

// `limits` must be those of a training. Runs the code of a step on a backend that computes nothing, as plan_memory()
// does, and of the loss alone, and asks the model what it keeps.
MemoryKinds memory_kinds(const ModelConfig& config, const ModelOptions& options, const ProcessGrid& grid,
                         const PassLimits& limits, const StoredWeights& in_place = {});

}  // namespace chorus
