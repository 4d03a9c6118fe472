#include "data/corpora/split_files.h"

#include <algorithm>
#include <string>
#include <tuple>

namespace chorus {

namespace {
// Hugging Face's data sets say validation, InstructERC valid.
const std::vector<std::string>& names_of_dev() {
  static const std::vector<std::string> names{"dev", "valid", "validation", "val"};
  return names;
}
}  // namespace

std::vector<std::string> names_of_split(const std::string& name) {
  return name == names_of_dev()[0] ? names_of_dev() : std::vector{name};
}

std::string split_name(const std::string& name) {
  const bool is_dev = std::find(names_of_dev().begin(), names_of_dev().end(), name) != names_of_dev().end();
  return is_dev ? names_of_dev()[0] : name;
}

bool split_comes_before(const std::string& a, const std::string& b) {
  const auto rank = [](const std::string& split) {
    const std::string name = split_name(split);
    return std::tuple(name != "train", name != "dev", name != "test", split);
  };
  return rank(a) < rank(b);
}

std::vector<std::filesystem::path> split_files(const std::filesystem::path& folder,
                                               std::string_view extension) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == extension) files.push_back(entry.path());
  }
  std::ranges::sort(files, split_comes_before,
                    [](const std::filesystem::path& file) { return file.stem().string(); });
  return files;
}

}  // namespace chorus
