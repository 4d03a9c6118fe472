#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace chorus {

struct Utterance {
  std::string id;  // unique in its dialogue; may have gaps, so it is never an index
  std::string speaker, text;
  std::string label;      // one of Corpus::labels; empty: context only, never asked about
  std::int64_t line = 0;  // of the file it was read from
  std::string caption{};  // visual knowledge in words; empty: none
};

struct Dialogue {
  std::string id;
  std::vector<Utterance> utterances;  // in the order in which they were spoken
};

struct CorpusSplit {
  std::string name;  // "train", "dev" or "test", or what the user called it
  std::string file;
  std::vector<Dialogue> dialogues;
};

struct Corpus {
  std::string name;
  std::vector<std::string> labels;  // in index order
  std::vector<CorpusSplit> splits;
};

}  // namespace chorus
