#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "core/formats/base_model.h"
#include "core/formats/peft.h"
#include "ops/backend.h"

namespace chorus {

// Writes the base with  W + s B A  in the place of every projection W [O, I] that has a path: computed in f32, piece by
// piece, and rounded once to the type in which the base stores W. All else is copied as it is: other tensors, their
// types, the cut into files, the index, config.json, and the files of tokenizer and generation. In memory are the
// adapter, one tensor in its own type, and some MiB. `progress` hears how many bytes of the weights are written, after each
// tensor; what it throws ends the work. Throws DataError unless the adapter fits the base, and where a sum is more than
// the type can hold. Returns how many projections were merged.
std::int64_t write_merged(const BaseModel& base, const PeftAdapter& adapter,
                          const std::filesystem::path& folder, Backend& backend,
                          const std::function<void(std::int64_t done, std::int64_t total)>& progress = {});

// How far logits of the merged model and of base + adapter, computed in f32, may be apart by rounding alone, relative to
// the largest: the root of the sum of squares of one rounding of each merged weight matrix, by its type, and of sums over D
// in f32 in all projections of both. Of the order of what is measured, two to ten times as much.
struct MergeRounding {
  FileDType dtype = FileDType::f32;  // that rounds most among the merged
  double relative = 0;
};
MergeRounding merge_rounding(const BaseModel& base, const PeftAdapter& adapter);

}  // namespace chorus
