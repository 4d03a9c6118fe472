#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/interruption.h"
#include "core/llama.h"
#include "core/progress.h"
#include "data/dataset.h"

namespace chorus {

struct GenerateOptions {
  std::int64_t max_new_tokens = 64;
  std::int64_t sequences_at_once = 8;      // decoded together, each with its own cache
  const FeatureTable* features = nullptr;  // what tokens below 0 of the prompts stand for
};

// How much a generation of these prompts takes, for plan_memory().
struct GenerationLimits {
  std::int64_t prompt_tokens = 0;  // of the prompts decoded together, at most
  std::int64_t sequences = 0, length = 0;
};
GenerationLimits generation_limits(std::span<const std::vector<std::int32_t>> prompts,
                                   const GenerateOptions& options, std::int64_t max_positions);

// The most probable token after another, until one of `config().eos` or max_new_tokens. Returns the new tokens of
// each prompt, without the final eos. Prompts are shared out over the data ranks; every rank returns all. Throws
// DataError for a prompt without room for one new token, and Interrupted, on all ranks, when the prompts in hand at a
// request to stop are answered. Collective.
std::vector<std::vector<std::int32_t>> generate(const Llama& model,
                                                std::span<const std::vector<std::int32_t>> prompts,
                                                const GenerateOptions& options, Backend& backend,
                                                const Groups& groups, Arena& arena, const Progress& progress,
                                                const StopRequested& stop_requested = {});

}  // namespace chorus
