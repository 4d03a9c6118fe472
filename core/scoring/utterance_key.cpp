#include "core/scoring/utterance_key.h"

#include <fmt/format.h>

#include "ops/base/index.h"

namespace chorus {

UtteranceKey key_of(const Dataset& dataset, std::int64_t utterance) {
  const UtteranceReference& reference = dataset.utterances[at(utterance)];
  return {dataset.origin.corpora[at(reference.corpus)], dataset.origin.split, reference.dialogue,
          reference.id};
}

std::string describe(const UtteranceKey& key) {
  return fmt::format("utterance {} of dialogue {} ({}, {})", key.utterance, key.dialogue, key.corpus,
                     key.split);
}

}  // namespace chorus
