#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/corpora/dialogue.h"

namespace chorus {

// Where labels stand on the wheel of valence (from left to right) and arousal (upwards) of Russell 1980: degrees from the
// right, counted upwards; none for a label in the middle, as neutral is.
class EmotionWheel {
 public:
  // Of the labels of the corpora that are read, and of words akin to them, whatever their case, as PRC-Emo places them.
  EmotionWheel();
  // A JSON object of LABEL: DEGREES, or null. Throws DataError for anything else.
  explicit EmotionWheel(const std::string& path);

  // Throws ConfigurationError that names a label which stands nowhere.
  void require_labels(const std::vector<std::string>& labels) const;
  // In [0, 1], of two different labels of a corpus that has `labels` of them: the cosine between them, at least 0; 0 where
  // one is right and the other left, 1 / labels where one is neither (equation 1 of PRC-Emo, Li et al., AAAI 2026).
  double similarity(const std::string& a, const std::string& b, std::size_t labels) const;

 private:
  struct Place {
    double valence = 0, arousal = 0;
  };
  void put(const std::string& label, std::optional<double> degrees);

  std::string path_;                     // "": of this program
  std::map<std::string, Place> places_;  // small letters
};

// How hard the emotions of a dialogue are to follow (equations 2 to 5 of PRC-Emo): each change from one line of a speaker to
// the next of the same, or from one line of the dialogue to the next where another speaks, counts 0.4 plus the similarity of
// the two emotions;
//   (sum of all changes + speakers) / (lines + speakers).
// A line without a label changes nothing.
double difficulty(const Dialogue& dialogue, const EmotionWheel& wheel, std::size_t labels);

}  // namespace chorus
