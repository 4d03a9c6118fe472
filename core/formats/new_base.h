#pragma once

#include <cstdint>
#include <filesystem>

#include "core/formats/model_config.h"
#include "core/formats/model_writer.h"

namespace chorus {

// Writes a Hugging Face folder with an untrained model in F32 or BF16: norms 1, biases 0, everything else normal with deviation
// 0.02, the projections back into the residual stream (o, down) divided by √(2 · layers) (Radford et al. 2019, section
// 2.3). A function of the seed; BF16 is F32 rounded. The tokenizer is copied beside it. Throws ConfigurationError if the
// folder holds something already.
void write_new_base(const std::filesystem::path& folder, const ModelConfig& config,
                    const std::filesystem::path& tokenizer, std::uint64_t seed,
                    FileDType dtype = FileDType::f32, std::int64_t most_shard_bytes = largest_shard);

}  // namespace chorus
