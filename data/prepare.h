#pragma once

#include "data/corpora/ledger.h"
#include "data/prepare_options.h"

namespace chorus {

// Reads a corpus and writes one data set SPLIT.h5 per split, or shards of it (data/sets/data_split.h), and ledger.json, which is
// also returned. The output is locked from the start, and what is written appears at once when all of it is. Of messages,
// text and token lists no more is in memory than a shard and what is read at a time; groups of token lists that have a
// name, and all that follows the first of them, are until the end; so are a split's features and token
// lists with some. `embed` is for Retrieval::embedding.
//
// The train split of a dialogue corpus holds each utterance with its gold answer; the others hold each
// utterance with every label as its answer, so that one forward pass scores them all, and supervise nothing
// but the answers. An utterance whose prompt is too long even without history is dropped, and counted.
Ledger prepare(const PrepareOptions& options, const PrepareProgress& progress = {},
               const EmbedTexts& embed = {});

}  // namespace chorus
