#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "data/corpora/dialogue.h"

namespace chorus {

inline std::map<std::string, std::int64_t> label_counts(const CorpusSplit& split) {
  std::map<std::string, std::int64_t> counts;
  for (const Dialogue& dialogue : split.dialogues) {
    for (const Utterance& utterance : dialogue.utterances) ++counts[utterance.label];
  }
  return counts;
}

}  // namespace chorus
