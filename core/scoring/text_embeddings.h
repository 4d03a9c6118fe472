#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/model/model.h"
#include "core/scoring/progress.h"
#include "data/prompts/tokenizer.h"
#include "parallel/interruption.h"

namespace chorus {

// The mean of the model's last hidden states, after the final norm, over the tokens of each text, <s> included:
// [texts, D], on all ranks, of which those of the data group share the texts out. A text of more than
// `tokens_per_microbatch` tokens is cut. Collective. Throws Interrupted on all ranks alike once `stop_requested`.
std::vector<float> embed_texts(const Model& model, const Tokenizer& tokenizer,
                               std::span<const std::string> texts, std::int64_t tokens_per_microbatch,
                               Arena& arena, const Progress& progress, const StopRequested& stop_requested);

}  // namespace chorus
