#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace chorus {

struct TokenizerTraining {
  std::vector<std::filesystem::path> files;  // UTF-8 text, learned from line by line
  std::int32_t vocabulary_size = 2048;
  std::filesystem::path output;  // must not exist
};

// Learns a tokenizer of LLaMA's kind: BPE over the text as it is, digits apart, unknown characters as bytes,
// <unk>, <s>, </s> = 0, 1, 2. Deterministic. Throws ConfigurationError if `output` exists or the text is too
// small for the vocabulary (or the vocabulary too small for bytes and characters).
void train_tokenizer(const TokenizerTraining& training);

}  // namespace chorus
