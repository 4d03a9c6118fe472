#pragma once

#include <array>
#include <string>
#include <vector>

#include "data/sets/hdf5_file.h"

namespace chorus {

// Writes a feature file of three arrays with these keys: of one row, of two and of four, which --feature-rows 2 makes two.
// Returns `path`.
inline std::string write_features(const std::string& path, const std::array<std::string, 3>& keys) {
  Hdf5Writer file(path);
  file.write<float>(keys[0], std::vector<float>{1, 2, 3});
  file.write<float>(keys[1], std::vector<float>{4, 5, 6, 7, 8, 9}, 3);
  file.write<float>(keys[2], std::vector<float>{1, 1, 1, 3, 3, 3, 5, 5, 5, 7, 7, 7}, 3);
  file.commit();
  return path;
}

}  // namespace chorus
