// Data sets and features. HDF5 itself has no instruments of the fuzzer: what it does wrong shows, what it does is not followed.

#include <cstdint>
#include <limits>

#include "data/sets/batches.h"
#include "data/sets/data_split.h"
#include "data/sets/feature_file.h"
#include "data/sets/hdf5_file.h"
#include "ops/base/error.h"
#include "tests/fuzz/target.h"
#include "tests/support/scratch.h"

namespace chorus::fuzz {
namespace {

Dataset small_dataset() {
  DatasetOrigin origin;
  origin.corpora = {"meld"};
  origin.split = "dev";
  origin.vocabulary_size = 40;
  origin.labels = origin.label_words = {"joy", "anger"};
  DatasetBuilder builder(origin);
  for (std::int32_t dialogue = 0; dialogue < 2; ++dialogue) {
    const std::int32_t utterance =
        builder.add_utterance({0, std::to_string(dialogue), "0", "Ann", "Hi!", dialogue});
    std::vector<GroupSample> samples;
    for (std::int32_t answer = 0; answer < 2; ++answer) {
      const std::int32_t word = 30 + answer;
      samples.push_back({{{1, 5, word, 2}, {unsupervised, unsupervised, word, 2}}, utterance, answer});
    }
    builder.add_group(samples, "dialogue");
  }
  return builder.finish();
}

// All that a training asks of a data set.
void use(const Dataset& dataset) {
  dataset.content_hash();
  dataset.unshared_tokens();
  dataset.has_gold();
  dataset.has_candidates();
  for (std::int64_t i = 0; i < std::ssize(dataset.samples); ++i) dataset.sequence(i);
  const Batches batches(dataset, {.batch_size = 2, .tokens_per_microbatch = 64});
  if (!dataset.samples.empty()) unless_refused([&] { batches.step(0, 0); });
}

void read_dataset(const std::string& input) { use(Dataset::read(file("set.h5", input))); }

// As the only shard of its split, read where it is mapped.
void read_shard(const std::string& input) {
  const DataSplit split(SplitFiles{"dev", {file("dev-00001-of-00001.h5", input)}});
  split.content_hash();
  split.utterance_labels();
  split.for_each_utterance([](const UtteranceReference&) {});
  split.summaries(0, split.trees());
  split.take(0, split.end_of_window(0, 9));
  const Batches batches(split, {.batch_size = 2, .tokens_per_microbatch = 64});
  unless_refused([&] { batches.step(0, 0); });
}

void read_features(const std::string& input) {
  const FeatureFile features(file("features.h5", input), "");
  for (const std::string dialogue : {"0", "1"}) {
    if (features.holds("train", dialogue, "0")) features.read("train", dialogue, "0", 2);
  }
}

// What an input changes: each byte, in turn, the next number.
class Changes {
 public:
  explicit Changes(const std::string& input) : input_(input) {}
  template <typename T>
  void change(T& value) {
    const auto byte = static_cast<signed char>(place_ < input_.size() ? input_[place_++] : 0);
    if (byte == -128 || byte == 127) {
      value = byte < 0 ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
    } else {
      value += byte;
    }
  }
  template <typename T>
  void change(std::vector<T>& values) {
    for (T& value : values) change(value);
  }

 private:
  const std::string& input_;
  std::size_t place_ = 0;
};

// Without HDF5 around them, so that the checks of what the arrays say are reached each time.
void read_dataset_arrays(const std::string& input) {
  static const Dataset good = small_dataset();
  Dataset dataset = good;
  Changes changes(input);
  for (auto* offsets :
       {&dataset.tree_tokens, &dataset.tree_segments, &dataset.tree_samples, &dataset.sample_targets})
    changes.change(*offsets);
  for (Segment& segment : dataset.segments) {
    for (auto* value : {&segment.first, &segment.length, &segment.parent, &segment.branch})
      changes.change(*value);
  }
  for (Sample& sample : dataset.samples) {
    for (auto* value : {&sample.end.segment, &sample.end.length, &sample.utterance, &sample.answer})
      changes.change(*value);
  }
  for (chorus::Target& target : dataset.targets) changes.change(target.row);
  for (UtteranceReference& utterance : dataset.utterances) {
    changes.change(utterance.corpus);
    changes.change(utterance.label);
  }
  changes.change(dataset.tokens);
  dataset.validate("set");
  use(dataset);
}

std::vector<std::string> feature_files() {
  const test::ScratchFolder scratch;
  std::vector<std::string> seeds;
  for (const std::string array : {"train/0/0", "OpenFace/data/0_0/features"}) {
    const auto path = scratch / std::to_string(seeds.size());
    Hdf5Writer file(path);
    file.write<float>(array, std::vector<float>{1, 2, 3, 4, 5, 6}, 3);
    file.commit();
    seeds.push_back(test::read_bytes(path));
  }
  return seeds;
}

}  // namespace

std::vector<Target> set_targets() {
  return {
      {"dataset",
       [] {
         const test::ScratchFolder scratch;
         small_dataset().write((scratch / "set.h5").string());
         return std::vector<std::string>{test::read_bytes(scratch / "set.h5")};
       },
       read_dataset},
      {"shard",
       [] {
         const test::ScratchFolder scratch;
         Dataset shard = small_dataset();
         shard.shard = {1, true, ""};
         shard.write((scratch / "set.h5").string());
         return std::vector<std::string>{test::read_bytes(scratch / "set.h5")};
       },
       read_shard},
      {"features", feature_files, read_features},
      {"dataset-arrays",
       [] {
         return std::vector<std::string>{std::string(100, '\0'), std::string(20, '\0') + "\1\2"};
       },
       read_dataset_arrays},
  };
}

}  // namespace chorus::fuzz
