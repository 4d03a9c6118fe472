#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/corpora/dialogue.h"

namespace chorus {

// How the labels of one or several corpora become another set, as data: a JSON file, see docs/formats.md.
struct LabelMap {
  struct Entry {
    std::map<std::string, std::optional<std::string>> labels;  // none: context only, never asked about
    std::int64_t first_speaker =
        0;  // number of the first speaker of this corpus, so that corpora do not share them
  };
  std::string name;
  std::vector<std::string> labels;  // of the result, in index order
  std::map<std::string, Entry> corpora;
  std::string path;

  // Throws DataError for a file that is malformed or maps to a label that is not listed.
  static LabelMap load(const std::string& path);

  // Throws DataError where the map does not know the corpus, leaves out one of its labels or names one that it has not.
  void apply(Corpus& corpus) const;
  std::int64_t first_speaker(const std::string& corpus) const;
};

}  // namespace chorus
