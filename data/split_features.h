#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>

#include "data/corpora/message.h"
#include "data/prepare_options.h"
#include "data/sets/feature_file.h"
#include "data/sets/split_writer.h"

namespace chorus {

// The file of --features, where one is given.
std::optional<FeatureFile> open_feature_file(const PrepareOptions& options);

// Puts arrays of a feature file, which samples name by their keys, into one split. One that several samples name is there once, so
// that they can share it. Refers to what it is given.
class SplitFeatures {
 public:
  SplitFeatures(const FeatureFile& file, const PrepareOptions& options, SplitWriter& split);

  // The rows of a name: those of the first of its keys that the file holds, the name itself before all others; a row of zeros,
  // which `notes` count, where it holds none and that is not refused. Throws DataError that begins with `where` for a name
  // whose array is missing, or that another name of the split has already found.
  PlacedRows take(std::span<const std::string> keys, const std::string& where,
                  std::map<std::string, std::int64_t>& notes);

  std::int64_t places() const { return places_; }  // that rows were taken for
  // Throws DataError where no array of any name is there: the keys are wrong.
  void finish() const;

 private:
  struct Rows {
    PlacedRows rows;
    bool missing = false;
  };

  Rows add(std::span<const std::string> keys, const std::string& where);

  const FeatureFile& file_;
  const PrepareOptions& options_;
  SplitWriter& split_;
  std::unordered_map<std::string, Rows> rows_;          // by name
  std::unordered_map<std::string, std::string> names_;  // that found an array, by its key
  std::string first_missing_;                           // what is said of it
  std::int64_t places_ = 0;
};

}  // namespace chorus
