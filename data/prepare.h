#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/ledger.h"

namespace chorus {

struct PrepareOptions {
  // "meld":   `inputs` is one folder, see meld.h.
  // "tokens": JSON lines {"input_ids": [..], "labels": [..]}, labels aligned with the ids and -100 where
  // nothing is to
  //           be learned; with an optional "group" string, lines of one group become one tree.
  // "text":   paragraphs between blank lines, each <s> … </s>, joined in their order to samples of `context`
  // tokens. For the latter two an input is FILE or SPLIT=FILE; without a name it is train.
  std::string corpus = "meld";
  std::vector<std::string> inputs;
  std::string output;                // folder; must not exist or be empty
  std::string recipe = "shared";     // name or path
  std::string tokenizer;             // path of a SentencePiece model; the tokens corpus can do without
  std::int64_t vocabulary_size = 0;  // of the base model; 0: the tokenizer's
  std::string history;               // number of lines or "all"; "": as the recipe says
  std::int64_t max_tokens = 1024;    // of a prompt with its answer; 0: no limit
  std::int64_t context = 256;        // of the text corpus
  bool skip_bad_rows = false;        // count malformed rows instead of stopping
};

// Tells how far `what` has come.
using PrepareProgress = std::function<void(std::string_view what, std::int64_t done, std::int64_t total)>;

// Reads a corpus and writes one data set SPLIT.h5 per split, and ledger.json, which is also returned. Nothing
// is written before everything has been read.
//
// The train split of a dialogue corpus holds each utterance with its gold answer; the others hold each
// utterance with every label as its answer, so that one forward pass scores them all, and supervise nothing
// but the answers. An utterance whose prompt is too long even without history is dropped, and counted.
Ledger prepare(const PrepareOptions& options, const PrepareProgress& progress = {});

}  // namespace chorus
