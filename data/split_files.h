#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace chorus {

// The files NAME.extension of a folder, each of which is a split: train, dev and test first, others by name.
std::vector<std::filesystem::path> split_files(const std::filesystem::path& folder,
                                               std::string_view extension);

}  // namespace chorus
