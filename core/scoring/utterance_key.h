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

// `utterance` is an index into the utterances of the data set.
UtteranceKey key_of(const Dataset& dataset, std::int64_t utterance);

// For messages: "utterance 3 of dialogue 12 (meld, test)".
std::string describe(const UtteranceKey& key);

}  // namespace chorus
