#pragma once

namespace chorus {

// The files of a Hugging Face folder that hold its weights: all in one, or what says which shard has which.
inline constexpr const char *single_weights_file = "model.safetensors",
                            *weights_index_file = "model.safetensors.index.json";

}  // namespace chorus
