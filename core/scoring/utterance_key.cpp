#include "core/scoring/utterance_key.h"

#include <fmt/format.h>

#include "ops/base/index.h"

namespace chorus {

UtteranceKey key_of(const DatasetOrigin& origin, const UtteranceReference& utterance) {
  return {origin.corpora[at(utterance.corpus)], origin.split, utterance.dialogue, utterance.id};
}

std::string describe(const UtteranceKey& key) {
  return fmt::format("utterance {} of dialogue {} ({}, {})", key.utterance, key.dialogue, key.corpus,
                     key.split);
}

}  // namespace chorus
