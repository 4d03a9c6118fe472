#include "data/sets/dataset.h"

#include <cmath>
#include <functional>
#include <random>

#include "data/sets/hdf5_file.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

DatasetOrigin origin() {
  DatasetOrigin origin;
  origin.corpora = {"meld"};
  origin.split = "train";
  origin.recipe_name = "mine";
  origin.recipe_text = "{ \"name\": \"caf\xC3\xA9\" }";
  origin.tokenizer_hash = 0xFEDCBA9876543210U;
  origin.vocabulary_size = 50;
  origin.labels = {"joy", "anger"};
  origin.label_words = {"happy", "angry"};
  return origin;
}

// Groups of sequences that share beginnings, also with nothing in common.
std::vector<std::vector<GroupSample>> random_groups(unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::vector<GroupSample>> groups(12);
  for (auto& group : groups) {
    group.resize(1 + random() % 6);
    for (GroupSample& sample : group) {
      const std::size_t length = 2 + random() % 12;
      for (std::size_t i = 0; i < length; ++i) {
        sample.sequence.tokens.push_back(static_cast<std::int32_t>(random() % (i < 6 ? 2 : 50)));
        sample.sequence.labels.push_back(i > 0 && random() % 2 == 0 ? sample.sequence.tokens.back()
                                                                    : unsupervised);
      }
      sample.sequence.labels[1] = sample.sequence.tokens[1];
    }
  }
  return groups;
}

Dataset build(const std::vector<std::vector<GroupSample>>& groups) {
  DatasetBuilder builder(origin());
  std::int32_t group_index = 0;
  for (std::vector<GroupSample> group : groups) {
    for (GroupSample& sample : group) {
      sample.utterance = builder.add_utterance(
          {0, fmt::format("d{}", group_index), "u", "Ann", "Oh — no.", group_index % 2});
      sample.answer = group_index % 2;
      sample.weight = 0.25F * static_cast<float>(1 + group_index % 4);
    }
    builder.add_group(group, "here");
    ++group_index;
  }
  return builder.finish();
}

TEST(Dataset, GivesBackTheSeparatePrompts) {
  const auto groups = random_groups(1);
  const Dataset dataset = build(groups);
  std::int64_t sample = 0, unshared = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (const GroupSample& expected : groups[g]) {
      EXPECT_EQ(dataset.sequence(sample), expected.sequence) << "sample " << sample;
      EXPECT_EQ(dataset.samples[static_cast<std::size_t>(sample)].tree, static_cast<std::int32_t>(g));
      const bool dropped_last = expected.sequence.labels.back() != unsupervised;
      const std::int64_t rows = std::ssize(expected.sequence.tokens) - (dropped_last ? 1 : 0);
      EXPECT_EQ(dataset.length(sample), rows);
      unshared += rows;
      ++sample;
    }
  }
  EXPECT_EQ(sample, std::ssize(dataset.samples));
  EXPECT_EQ(dataset.unshared_tokens(), unshared);
  EXPECT_LT(std::ssize(dataset.tokens), unshared);
}

TEST(Dataset, IsReadAsItWasWritten) {
  const TemporaryFolder folder;
  const Dataset dataset = build(random_groups(2));
  dataset.write(folder / "train.h5");
  EXPECT_EQ(Dataset::read(folder / "train.h5"), dataset);
  expect_contains(message_of<ConfigurationError>([&] { dataset.write(folder / "train.h5"); }),
                  "exists already");
}

// Two samples share the rows of a feature as they share words.
TEST(Dataset, FeaturesAreKeptAsF32OrF16) {
  const TemporaryFolder folder;
  DatasetBuilder builder(origin());
  FeatureTable features{.width = 3, .values = {1, 2, 3, -4, 0.5, 65504}};
  builder.set_features(features);
  const std::int32_t first = feature_token(0), second = feature_token(1);
  builder.add_group(std::vector<GroupSample>{{{{1, first, second, 7}, {-100, -100, -100, 7}}},
                                             {{{1, first, 8, 9}, {-100, -100, -100, 9}}}},
                    "here");
  Dataset dataset = builder.finish();
  EXPECT_EQ(dataset.tokens, (std::vector<std::int32_t>{1, -1, -2, 8}));
  dataset.write(folder / "f32.h5");
  EXPECT_EQ(Dataset::read(folder / "f32.h5"), dataset);
  dataset.features.half_precision = true;
  dataset.write(folder / "f16.h5");
  EXPECT_EQ(Dataset::read(folder / "f16.h5"), dataset) << "these values are exact in f16";

  dataset.features.values[4] = 70000;
  expect_contains(message_of<DataError>([&] { dataset.write(folder / "large.h5"); }),
                  "large.h5: value 4 of 'features' is 70000, and f16 ends at 65504");
  EXPECT_FALSE(std::filesystem::exists(folder / "large.h5"));
  dataset.features.values.pop_back();
  expect_contains(message_of<DataError>([&] { dataset.validate("x.h5"); }),
                  "5 feature values are no rows of 3");
  dataset.features.values = {1, 2, 3};
  expect_contains(message_of<DataError>([&] { dataset.validate("x.h5"); }), "token -2 at 2");
  dataset.features.values = {1, 2, 3, 4, 5, NAN};
  expect_contains(message_of<DataError>([&] { dataset.validate("x.h5"); }), "feature value 5 is nan");
}

TEST(Dataset, WithoutUtterancesAndLabels) {
  const TemporaryFolder folder;
  DatasetOrigin plain;
  plain.corpora = {"tokens"};
  plain.split = "train";
  plain.vocabulary_size = 9;
  DatasetBuilder builder(plain);
  builder.add_group(std::vector<GroupSample>{{{{1, 2, 3}, {-100, -100, 3}}}}, "here");
  const Dataset dataset = builder.finish();
  dataset.write(folder / "train.h5");
  EXPECT_EQ(Dataset::read(folder / "train.h5"), dataset);
}

TEST(Dataset, BuilderNamesThePlaceOfABadSample) {
  DatasetBuilder builder(origin());
  const std::vector<GroupSample> group{{{{1, 50}, {-100, 50}}}};
  expect_contains(message_of<DataError>([&] { builder.add_group(group, "file.jsonl:3"); }),
                  "file.jsonl:3: token 50 at position 1 is outside the vocabulary of 50");
}

std::string message_with(const std::function<void(Dataset&)>& damage) {
  Dataset dataset = build(random_groups(3));
  damage(dataset);
  return message_of<DataError>([&] { dataset.validate("x.h5"); });
}

TEST(Dataset, ValidateFindsEveryKindOfDisagreement) {
  expect_contains(message_with([](Dataset& d) { d.tokens[3] = 50; }), "x.h5: token 50 at 3 is outside");
  expect_contains(message_with([](Dataset& d) { d.tokens[3] = -1; }), "token -1 at 3");
  expect_contains(message_with([](Dataset& d) { d.tokens.pop_back(); }), "'tree_tokens' ends at");
  expect_contains(message_with([](Dataset& d) { d.tree_tokens[0] = 1; }),
                  "'tree_tokens' does not begin with 0");
  expect_contains(message_with([](Dataset& d) { std::swap(d.tree_samples[1], d.tree_samples[2]); }),
                  "'tree_samples'");
  expect_contains(message_with([](Dataset& d) { d.tree_samples.erase(d.tree_samples.begin() + 1); }),
                  "do not belong together");
  expect_contains(message_with([](Dataset& d) { d.sample_targets.back() += 1; }), "'sample_targets' ends at");
  expect_contains(message_with([](Dataset& d) { d.segments[0].length += 1; }), "x.h5: tree 0: ");
  expect_contains(message_with([](Dataset& d) { d.segments[0].parent = 0; }), "x.h5: tree 0: ");
  expect_contains(message_with([](Dataset& d) { d.samples[0].end.length = 1000; }),
                  "sample 0 ends at token 1000");
  expect_contains(message_with([](Dataset& d) { d.samples[0].end.segment = -1; }), "of segment -1");
  expect_contains(message_with([](Dataset& d) { d.samples[1].utterance = 5000; }),
                  "speaks of utterance 5000");
  expect_contains(message_with([](Dataset& d) { d.samples[1].answer = 2; }), "answers with label 2 of 2");
  expect_contains(message_with([](Dataset& d) { d.utterances[0].label = 2; }), "has label 2 of 2");
  expect_contains(message_with([](Dataset& d) { d.targets[0].row = 10000; }), "outside its path");
  expect_contains(message_with([](Dataset& d) { d.targets[0].token ^= 1; }), "but another token follows");
  expect_contains(message_with([](Dataset& d) { d.origin.vocabulary_size = 0; }), "vocabulary size 0");
  expect_contains(message_with([](Dataset& d) { d.origin.label_words.pop_back(); }),
                  "2 labels but 1 label words");
}

TEST(Dataset, RefusesOtherFilesAndVersions) {
  const TemporaryFolder folder;
  expect_contains(message_of<DataError>([&] { Dataset::read(folder / "none.h5"); }), "none.h5: no such file");
  {
    Hdf5Writer file(folder / "other.h5");
    file.attribute("made_by", std::string("somebody"));
    file.commit();
  }
  expect_contains(message_of<DataError>([&] { Dataset::read(folder / "other.h5"); }),
                  "is HDF5 but not a data set of Chorus");
  {
    Hdf5Writer file(folder / "future.h5");
    file.attribute("format", std::string("chorus-dataset"));
    file.attribute("format_version", Dataset::format_version + 1);
    file.commit();
  }
  expect_contains(message_of<DataError>([&] { Dataset::read(folder / "future.h5"); }),
                  "has format version 3, this program reads 2; run 'chorus prepare' again");
}

TEST(Dataset, DamagedFilesAreErrorsOrHarmless) {
  const TemporaryFolder folder;
  const Dataset dataset = build(random_groups(4));
  dataset.write(folder / "train.h5");
  const std::string good = bytes_of(folder / "train.h5");
  int noticed = 0;
  for (std::size_t i = 0; i < good.size(); i += 41) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x81);
    const std::string path = folder.write("bad.h5", bad);
    try {
      EXPECT_EQ(Dataset::read(path), dataset) << "byte " << i;
    } catch (const DataError& error) {
      ++noticed;
      expect_contains(error.what(), "bad.h5");
    }
  }
  EXPECT_GT(noticed, 20);
  for (std::size_t length = 0; length < good.size(); length += 501) {
    const std::string path = folder.write("cut.h5", good.substr(0, length));
    expect_contains(message_of<DataError>([&] { Dataset::read(path); }),
                    "cut.h5: is not an HDF5 file, or truncated");
  }
}

}  // namespace
}  // namespace chorus
