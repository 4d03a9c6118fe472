#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace chorus {

// What a corpus does not tell of a line (side_texts.h).
struct SideText {
  std::string name;
  std::shared_ptr<const std::string> text;  // one for all lines of a speaker or dialogue
};

struct Utterance {
  std::string id;  // unique in its dialogue; may have gaps, so it is never an index
  std::string speaker, text;
  std::string label;      // one of Corpus::labels; empty: none, see CorpusSplit::has_labels
  std::int64_t line = 0;  // of the file it was read from
  std::vector<SideText> side = {};
  // Its rows of the split's FeatureTable: [first_feature, first_feature + features).
  std::int32_t first_feature = 0, features = 0;
};

struct Dialogue {
  std::string id;
  std::vector<Utterance> utterances;  // in the order in which they were spoken
};

// One line of a dialogue. Both must outlive it.
struct Line {
  const Dialogue* dialogue = nullptr;
  std::size_t turn = 0;
  const Utterance& utterance() const { return dialogue->utterances[turn]; }
};

struct CorpusSplit {
  std::string name;  // "train", "dev" or "test", or what the user called it
  std::string file;
  std::vector<Dialogue> dialogues;
  // Where some utterances have labels, the others are context only, never asked about. Where none had one when it was
  // read, all are asked about, and there is nothing to score.
  bool has_labels = true;
};

struct Corpus {
  std::string name;
  std::vector<std::string> labels;  // in index order
  std::vector<CorpusSplit> splits;
};

// How corpora are read.
struct CorpusOptions {
  bool skip_bad_rows = false;  // count malformed rows in the ledger instead of throwing
};

}  // namespace chorus
