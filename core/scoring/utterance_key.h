#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "data/sets/dataset.h"

namespace chorus {

// Names an utterance among all corpora.
struct UtteranceKey {
  std::string corpus, split, dialogue, utterance;
  auto operator<=>(const UtteranceKey&) const = default;
};

// Of an utterance of the data that is of this origin.
UtteranceKey key_of(const DatasetOrigin& origin, const UtteranceReference& utterance);

// For messages: "utterance 3 of dialogue 12 (meld, test)".
std::string describe(const UtteranceKey& key);

}  // namespace chorus
