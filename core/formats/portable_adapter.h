#pragma once

#include <cstdint>
#include <filesystem>

#include "core/formats/peft.h"

namespace chorus {

// What vLLM can be told to take: --max-lora-rank is one of these, and 16 if it is not given.
inline constexpr std::int64_t usual_served_rank = 16, largest_served_rank = 512;
// The least of them that is at least `rank`.
std::int64_t served_rank(std::int64_t rank);

// How an adapter was changed so that others compute the same.
struct PortableChanges {
  std::int64_t rank = 0;  // of all paths
  double alpha = 0;
  bool folded_rslora = false;  // alpha / √r = alpha' / r with alpha' = alpha √r
  std::int64_t padded = 0;     // paths of a smaller rank, whose factors got zeros
  bool folded_scales = false;  // B holds s B, in F32, and alpha is the rank
};

// Writes an adapter that means the same to programs that know nothing but  y += (lora_alpha / r) B A x  with one r and one
// lora_alpha: llama.cpp, which reads neither use_rslora nor alpha_pattern and takes a lora_alpha of 0 for a scale of 1, and
// vLLM, which up to 0.30 reads neither rank_pattern nor alpha_pattern. Where all paths have one rank and one alpha above 0,
// the factors are as they were, in their types. Throws DataError for a rank above largest_served_rank.
PortableChanges write_portable(const PeftAdapter& adapter, const std::filesystem::path& folder);

}  // namespace chorus
