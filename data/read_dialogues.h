#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/corpora/dialogue.h"
#include "data/corpora/ledger.h"
#include "data/prepare_options.h"
#include "data/prompts/recipe.h"
#include "data/sets/dataset.h"

namespace chorus {

// All that prepare() reads of corpora of dialogues, before anything is written.
struct Dialogues {
  std::vector<Corpus> corpora;                    // that agree about their labels
  std::vector<std::vector<SplitLedger>> ledgers;  // of each corpus and split
  std::vector<std::int64_t> first_speakers;       // of each corpus
  std::map<std::string, FeatureTable> features;   // of each split, where there are some

  template <typename Visitor>
  void for_each_line(const Visitor& visit) const {
    for (std::size_t c = 0; c < corpora.size(); ++c) {
      for (const CorpusSplit& split : corpora[c].splits) {
        for (const Dialogue& dialogue : split.dialogues) {
          for (std::size_t turn = 0; turn < dialogue.utterances.size(); ++turn) {
            visit(c, split, Line{&dialogue, turn});
          }
        }
      }
    }
  }
};

// Reads the corpora, makes their labels those of the label map, and gives lines their side texts, as far as the recipes show them,
// and features. The ledger gets what was counted and noticed. Throws as prepare() does.
Dialogues read_dialogues(const PrepareOptions& options, const Recipe& recipe,
                         const std::optional<Recipe>& auxiliary, Ledger& ledger);

}  // namespace chorus
