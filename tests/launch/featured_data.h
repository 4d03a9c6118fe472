#pragma once

#include <cmath>
#include <filesystem>
#include <string>

#include "data/sets/dataset.h"

namespace chorus {

// Copies a folder of data sets, with a row of features in the place of the second token of every tree.
inline void write_with_features(const std::string& from, const std::string& to, std::int32_t width) {
  std::filesystem::create_directories(to);
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    if (entry.path().extension() != ".h5") continue;
    Dataset dataset = Dataset::read(entry.path());
    dataset.features = {.width = width, .values = {}, .half_precision = true};
    for (std::int64_t tree = 0; tree < dataset.trees(); ++tree) {
      dataset.tokens[static_cast<std::size_t>(dataset.tree_tokens[static_cast<std::size_t>(tree)]) + 1] =
          feature_token(static_cast<std::int32_t>(tree));
      for (std::int32_t i = 0; i < width; ++i)
        dataset.features.values.push_back(std::sin(static_cast<float>(tree * width + i)));
    }
    dataset.write((std::filesystem::path(to) / entry.path().filename()).string());
  }
}

}  // namespace chorus
