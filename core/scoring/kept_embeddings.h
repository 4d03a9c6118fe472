#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace chorus {

// Vectors of texts that a folder keeps, so that no base has to make them twice: a safetensors file for each maker.
class KeptEmbeddings {
 public:
  // `maker` is all that the vectors depend on but the texts; the file is named by its hash. Reads what is there. Throws
  // DataError where a file is damaged, or is not what this wrote.
  KeptEmbeddings(const std::filesystem::path& folder, const std::map<std::string, std::string>& maker);

  // Those of `texts` that have no vector yet.
  std::vector<std::string> missing(std::span<const std::string> texts) const;
  // Vectors [texts, D] of texts that had none, for good: the file is written anew.
  void add(std::span<const std::string> texts, std::span<const float> vectors);
  // [texts, D] of texts that all have one.
  std::vector<float> of(std::span<const std::string> texts) const;

  const std::filesystem::path& path() const { return path_; }

 private:
  void read();
  void write() const;

  std::filesystem::path path_;
  std::map<std::string, std::string> maker_;
  std::vector<std::string> texts_;
  std::map<std::string, std::size_t, std::less<>> rows_;  // of texts_
  std::vector<float> vectors_;                            // [texts_, D]
};

}  // namespace chorus
