#pragma once

#include <string>

#include "core/model/model.h"
#include "core/training/optimizer.h"

namespace chorus {

// Compares, by XXH64, what ranks hold alike: data ranks all trained tensors and their moments, tensor ranks those that are
// not split, and all ranks the norms of a frozen base that lie in memory. "" where the bits are the same, else the first
// tensor that differs, and between which ranks. Collective; all ranks get the same text. On a GPU each tensor is
// downloaded.
std::string differing_replicas(const Model& model, const AdamW& optimizer, Arena& arena);

}  // namespace chorus
