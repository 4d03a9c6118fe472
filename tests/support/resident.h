#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace chorus::test {

// Bytes of a mapped file that are in this process's memory.
inline std::int64_t resident_bytes(const std::filesystem::path& path) {
  std::ifstream mappings("/proc/self/smaps");
  std::int64_t kibibytes = 0;
  bool of_file = false;
  for (std::string line; std::getline(mappings, line);) {
    std::istringstream words(line);
    std::string first;
    words >> first;
    if (!first.ends_with(':')) of_file = line.ends_with(path.string());
    std::int64_t size = 0;
    if (of_file && first == "Rss:" && words >> size) kibibytes += size;
  }
  return kibibytes * 1024;
}

}  // namespace chorus::test
