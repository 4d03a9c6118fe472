#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace chorus {

struct SampleCorpusOptions {
  std::uint64_t seed = 1;
  std::int64_t train_dialogues = 400, dev_dialogues = 60, test_dialogues = 120;
  std::int64_t paragraphs = 4000;  // of pretraining.txt
};

// Writes a small corpus of invented conversations to `folder`: {train,dev,test}_sent_emo.csv in the layout of
// MELD, and pretraining.txt, paragraphs of conversations and stories that say how people feel and why. A pure
// function of the options. Throws ConfigurationError if one of the files exists.
//
// The rule behind the labels:
//   - news ("Leo's aunt won the baking contest.") is told in a neutral voice, as are questions and small
//   talk;
//   - a feeling that is spelled out ("I am furious that …") has the label that its words say;
//   - a reaction ("Oh wow, really?") has the label of the kind of news before it: good → joy, bad → sadness,
//     threatening → fear, gross → disgust, unfair → anger, startling → surprise, ordinary → neutral;
//   - an echo ("I feel the same.") has the label of the feeling before it.
// So four lines in ten cannot be told from their own words, but all of them from the line before.
void write_sample_corpus(const std::filesystem::path& folder, const SampleCorpusOptions& options);

}  // namespace chorus
