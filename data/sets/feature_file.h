#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/sets/hdf5_file.h"

namespace chorus {

// What is known of utterances beside their words, as a user brings it: an HDF5 file with one array of floats per
// utterance, (d) or (T, d), of one d in all of it. Two layouts are told apart by themselves:
//
//   any groups     the key of an utterance is the path of its array, by default {split}/{dialogue}/{utterance}
//   CMU SDK .csd   /ROOT/data/ID/features; the key is the ID, by default {dialogue}_{utterance}
class FeatureFile {
 public:
  // `key_pattern` makes keys of {split}, {dialogue} and {utterance}; "" is the default of the layout. Throws
  // ConfigurationError for another pattern, DataError for a file without any array of floats.
  FeatureFile(const std::filesystem::path& path, std::string key_pattern);

  std::int32_t width() const { return width_; }  // d
  // Whether there is an array of that key.
  bool holds(const std::string& key) const;
  // Its rows [at most `most_rows`, d], pooled. Throws DataError with file, key and numbers.
  std::vector<float> read(const std::string& key, std::int64_t most_rows) const;
  // Whether there is an array for an utterance, whose key the pattern makes.
  bool holds(const std::string& split, const std::string& dialogue, const std::string& utterance) const;
  // Rows of one utterance, as read() of its key.
  std::vector<float> read(const std::string& split, const std::string& dialogue, const std::string& utterance,
                          std::int64_t most_rows) const;

 private:
  // The path of the array of a key.
  std::string array_of(const std::string& key) const { return root_ + key + leaf_; }
  // The key that the pattern makes of an utterance.
  std::string key_of(const std::string& split, const std::string& dialogue,
                     const std::string& utterance) const;
  // The first one that is there, under any name of the split.
  std::optional<std::string> find(const std::string& split, const std::string& dialogue,
                                  const std::string& utterance) const;
  FloatArray read_array(const std::string& array) const;

  std::filesystem::path path_;
  std::unique_ptr<Hdf5Reader> file_;
  std::string root_;  // before a key: "" or "ROOT/data/"
  std::string leaf_;  // behind it: "" or "/features"
  std::string key_pattern_;
  std::int32_t width_ = 0;
  std::string first_array_;  // whose width that is
};

// Means over contiguous spans of rows [T, width], as equal in length as they can be, so that at most `most_rows` remain.
std::vector<float> pooled(std::span<const float> rows, std::int64_t width, std::int64_t most_rows);

}  // namespace chorus
