#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace chorus {

// What Chorus calls the split that files call `name`: valid, validation and val are dev.
std::string split_name(const std::string& name);

// The names that mean the split that Chorus calls `name`, its own first.
std::vector<std::string> names_of_split(const std::string& name);

// The order of splits: train, dev and test first, others by name.
bool split_comes_before(const std::string& a, const std::string& b);

// The files NAME.extension of a folder, each of which is a split, in this order.
std::vector<std::filesystem::path> split_files(const std::filesystem::path& folder,
                                               std::string_view extension);

}  // namespace chorus
