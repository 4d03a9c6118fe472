#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace chorus {

inline std::vector<nlohmann::json> read_json_lines(const std::filesystem::path& path) {
  std::vector<nlohmann::json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// The batches of a golden run one after another, as the tokens corpus wants it.
inline std::string token_lines(const nlohmann::json& batches) {
  std::string text;
  for (const nlohmann::json& batch : batches) {
    for (std::size_t s = 0; s < batch.at("input_ids").size(); ++s) {
      text +=
          nlohmann::json{{"input_ids", batch["input_ids"][s]}, {"labels", batch["labels"][s]}}.dump() + "\n";
    }
  }
  return text;
}

}  // namespace chorus
