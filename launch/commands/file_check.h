#pragma once

#include <functional>
#include <string>
#include <vector>

namespace chorus {

struct FilesToCheck {
  std::string base, adapter, data;  // folders; empty: none
};

struct CheckedPart {
  std::string what, verdict;  // "adapter"; "whole: 14 tensors, undamaged, finite, fits the base"
  bool usable = true;
};

// Reads each part to its last byte, in bounded memory: whether it is whole (by the hashes of files that Chorus wrote),
// finite, and fits the base, if that one is given and usable. `reading` hears of each tensor, by its number.
std::vector<CheckedPart> check_files(const FilesToCheck& files,
                                     const std::function<void(std::int64_t)>& reading);

// A line for each.
std::string to_table(const std::vector<CheckedPart>& parts);

}  // namespace chorus
