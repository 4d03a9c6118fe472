#include "data/split_files.h"

#include <algorithm>
#include <string>
#include <tuple>

namespace chorus {

std::vector<std::filesystem::path> split_files(const std::filesystem::path& folder,
                                               std::string_view extension) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == extension) files.push_back(entry.path());
  }
  const auto rank = [](const std::filesystem::path& path) {
    const std::string name = path.stem().string();
    return std::tuple(name != "train", name != "dev", name != "test", name);
  };
  std::sort(files.begin(), files.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return files;
}

}  // namespace chorus
