#include "data/sets/data_split.h"

#include <algorithm>
#include <functional>
#include <random>

#include <malloc.h>

#include "data/sets/batches.h"
#include "data/sets/split_writer.h"
#include "ops/base/index.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

constexpr std::int64_t small_shard = 600, no_bound = 1 << 30;

DatasetOrigin origin_of_shards() {
  DatasetOrigin origin;
  origin.corpora = {"invented"};
  origin.split = "train";
  origin.vocabulary_size = 50;
  origin.labels = origin.label_words = {"joy", "anger"};
  return origin;
}

// Dialogues whose samples share beginnings; every third has no utterances.
void add_dialogues(SplitWriter& writer, int count, unsigned seed) {
  std::mt19937 random(seed);
  for (int dialogue = 0; dialogue < count; ++dialogue) {
    std::vector<GroupSample> samples(1 + random() % 5);
    for (GroupSample& sample : samples) {
      const std::size_t length = 3 + random() % 9;
      for (std::size_t i = 0; i < length; ++i)
        sample.sequence.tokens.push_back(static_cast<std::int32_t>(random() % (i < 5 ? 2 : 50)));
      sample.sequence.labels.assign(sample.sequence.tokens.size(), unsupervised);
      sample.sequence.labels.back() = sample.sequence.tokens.back();
      sample.weight = 0.5F * static_cast<float>(1 + random() % 3);
      if (dialogue % 3 == 0) continue;
      const auto label = static_cast<std::int32_t>(random() % 2);
      sample.answer = label;
      sample.utterance = writer.add_utterance({0, std::to_string(dialogue), "u", "Ann", "Oh.", label});
    }
    writer.add_group(samples, "here");
  }
}

SplitCounts write_split(const std::string& folder, std::int64_t shard_bytes, unsigned seed = 1,
                        int count = 40) {
  std::filesystem::create_directories(folder);
  SplitWriter writer(folder, origin_of_shards(), shard_bytes);
  add_dialogues(writer, count, seed);
  return writer.finish();
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

void expect_same(const Batches::Step& a, const Batches::Step& b) {
  EXPECT_EQ(a.samples, b.samples);
  EXPECT_EQ(a.supervised_tokens, b.supervised_tokens);
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.unshared_tokens, b.unshared_tokens);
  EXPECT_EQ(a.weight, b.weight);
  ASSERT_EQ(a.microbatches.size(), b.microbatches.size());
  for (std::size_t i = 0; i < a.microbatches.size(); ++i) {
    const MicroBatch &x = a.microbatches[i], &y = b.microbatches[i];
    EXPECT_EQ(x.forest.segments, y.forest.segments);
    EXPECT_EQ(x.tokens, y.tokens);
    EXPECT_EQ(x.token_ids, y.token_ids);
    EXPECT_EQ(x.targets, y.targets);
    EXPECT_EQ(x.samples, y.samples);
    EXPECT_EQ(x.weights, y.weights);
    EXPECT_EQ(x.unshared_tokens, y.unshared_tokens);
  }
}

TEST(DataSplit, ShardsAreTheSameSplitAsOneFile) {
  const TemporaryFolder folder;
  const SplitCounts one = write_split(folder / "one", no_bound),
                    many = write_split(folder / "many", small_shard);
  EXPECT_EQ(names_in(folder / "one"), std::vector<std::string>{"train.h5"});
  const SplitFiles whole = find_split(folder / "one", "train"), shards = find_split(folder / "many", "train");
  ASSERT_GT(shards.files.size(), 5U);
  EXPECT_EQ(shards.files[2].filename().string(), shard_name("train", 3, std::ssize(shards.files)));
  EXPECT_EQ(many.samples, one.samples);
  EXPECT_EQ(many.trees, one.trees);
  EXPECT_EQ(many.tokens, one.tokens);
  EXPECT_EQ(many.unshared_tokens, one.unshared_tokens);
  EXPECT_EQ(many.supervised_tokens, one.supervised_tokens);

  const Dataset dataset = Dataset::read(whole.files[0].string());
  EXPECT_EQ(read_whole(shards), dataset);
  const DataSplit held(whole), mapped(shards);
  EXPECT_EQ(mapped.content_hash(), dataset.content_hash());
  EXPECT_EQ(held.content_hash(), dataset.content_hash());
  EXPECT_EQ(mapped.longest_sample(), held.longest_sample());
  EXPECT_EQ(mapped.samples(), std::ssize(dataset.samples));
  EXPECT_EQ(mapped.tokens(), std::ssize(dataset.tokens));
  EXPECT_EQ(mapped.origin(), dataset.origin);
  const std::vector<std::int64_t> some{30, 2, 39, 3};
  EXPECT_EQ(mapped.take(some), held.take(some));
  EXPECT_EQ(mapped.take(3, 31), held.take(3, 31));
  EXPECT_EQ(mapped.take(3, 31).trees(), 28);

  std::vector<UtteranceReference> utterances;
  std::vector<std::int32_t> labels;
  mapped.for_each_utterance([&](const UtteranceReference& utterance) {
    EXPECT_EQ(mapped.utterance(std::ssize(utterances)), utterance);
    labels.push_back(utterance.label);
    utterances.push_back(utterance);
  });
  EXPECT_EQ(utterances, dataset.utterances);
  EXPECT_EQ(held.utterance(5), dataset.utterances[5]);
  for (const DataSplit& split : {held, mapped}) {
    EXPECT_EQ(split.utterances(), std::ssize(dataset.utterances));
    EXPECT_EQ(split.utterance_labels(), labels);
    EXPECT_TRUE(split.has_gold());
    EXPECT_FALSE(split.has_candidates());
    const std::vector<SampleSummary> samples = split.summaries(3, 31);
    EXPECT_EQ(samples, DataSplit(dataset).summaries(3, 31));
    ASSERT_EQ(std::ssize(samples), dataset.tree_samples[31] - dataset.tree_samples[3]);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const std::int64_t sample = dataset.tree_samples[3] + static_cast<std::int64_t>(i);
      EXPECT_EQ(samples[i].utterance, dataset.samples[at(sample)].utterance);
      EXPECT_EQ(samples[i].answer, dataset.samples[at(sample)].answer);
      EXPECT_EQ(samples[i].supervised_tokens, std::ssize(dataset.targets_of(sample)));
    }
  }

  for (const int ranks : {1, 3}) {
    const BatchOptions options{.batch_size = 9, .tokens_per_microbatch = 40, .seed = 5};
    const Batches of_one(dataset, options, ranks), of_many(mapped, options, ranks);
    ASSERT_EQ(of_many.steps_per_epoch(), of_one.steps_per_epoch());
    for (std::int64_t step = 0; step < 2 * of_one.steps_per_epoch(); ++step) {
      for (int rank = 0; rank < ranks; ++rank) expect_same(of_many.step(step, rank), of_one.step(step, rank));
    }
  }
}

TEST(DataSplit, WindowsAreAsManyNeighboursAsHaveSoManyTokens) {
  const TemporaryFolder folder;
  write_split(folder.path(), small_shard);
  const DataSplit split(find_split(folder.path(), "train"));
  const std::span<const std::int64_t> begins = split.tree_tokens();
  for (const std::int64_t tokens : {1, 50, 10000}) {
    std::int64_t windows = 0;
    for (std::int64_t first = 0, end = 0; first < split.trees(); first = end, ++windows) {
      end = split.end_of_window(first, tokens);
      ASSERT_GT(end, first);
      EXPECT_TRUE(end == first + 1 || begins[at(end)] - begins[at(first)] <= tokens);
      EXPECT_TRUE(end == split.trees() || begins[at(end + 1)] - begins[at(first)] > tokens);
    }
    EXPECT_EQ(windows == 1, tokens == 10000);
    EXPECT_EQ(windows == split.trees(), tokens == 1);
  }
}

// All labels of every utterance, but for one.
TEST(DataSplit, ASplitHasCandidatesWhereEveryShardHasThem) {
  for (const int without : {-1, 3, 19}) {
    const TemporaryFolder folder;
    SplitWriter writer(folder.path(), origin_of_shards(), small_shard);
    for (int dialogue = 0; dialogue < 40; ++dialogue) {
      const std::int32_t utterance =
          writer.add_utterance({0, std::to_string(dialogue), "u", "Ann", "Oh.", -1});
      std::vector<GroupSample> samples;
      for (std::int32_t label = 0; label < (dialogue == without ? 1 : 2); ++label)
        samples.push_back(
            {{{1, dialogue, 3 + label}, {unsupervised, unsupervised, 3 + label}}, utterance, label});
      writer.add_group(samples, "here");
    }
    writer.finish();
    const SplitFiles files = find_split(folder.path(), "train");
    ASSERT_GT(files.files.size(), 3U);
    const DataSplit split(files);
    EXPECT_EQ(split.has_candidates(), without < 0);
    EXPECT_EQ(read_whole(files).has_candidates(), without < 0);
    EXPECT_FALSE(split.has_gold());
  }
}

TEST(DataSplit, ShardsAreWrittenAsTheyCome) {
  const TemporaryFolder folder;
  SplitWriter writer(folder.path(), origin_of_shards(), small_shard);
  add_dialogues(writer, 40, 1);
  std::int64_t written = 0;
  for (const std::string& name : names_in(folder.path())) written += Dataset::read(folder / name).trees();
  const SplitCounts counts = writer.finish();
  const SplitFiles split = find_split(folder.path(), "train");
  const std::int64_t last = Dataset::read(split.files.back().string()).trees();
  EXPECT_EQ(written + last, counts.trees) << "all but the last shard are on the disk before the end";
  for (const auto& file : split.files) {
    const Dataset shard = Dataset::read(file.string());
    std::int64_t largest = 0;
    for (std::int64_t tree = 0; tree < shard.trees(); ++tree)
      largest = std::max(largest, shard.tree_tokens[at(tree + 1)] - shard.tree_tokens[at(tree)]);
    EXPECT_LT(4 * std::ssize(shard.tokens) + 28 * std::ssize(shard.samples),
              small_shard + 4 * largest + 5 * 28);
    EXPECT_EQ(shard.shard.last, file == split.files.back());
  }
}

// What malloc has given out grows by no more than two numbers a tree and what every shard needs.
TEST(DataSplit, OfShardsOnlyTheBeginningsOfTreesAreHeld) {
  const TemporaryFolder folder;
  DatasetOrigin origin = origin_of_shards();
  SplitWriter writer(folder.path(), origin, 1 << 20);
  constexpr std::int64_t trees = 2000, tokens = 1000;
  GroupSample sample{{std::vector<std::int32_t>(tokens, 7), std::vector<std::int32_t>(tokens, 7)}};
  sample.sequence.labels[0] = unsupervised;
  for (std::int64_t i = 0; i < trees; ++i) writer.add_group(std::span(&sample, 1), "here");
  writer.finish();
  const auto in_use = [] {
    const struct mallinfo2 info = mallinfo2();
    return static_cast<std::int64_t>(info.uordblks + info.hblkhd);
  };
  const std::int64_t before = in_use();
  const DataSplit split(find_split(folder.path(), "train"));
  const Batches batches(split, {.batch_size = 4, .tokens_per_microbatch = 4096});
  for (std::int64_t step = 0; step < 10; ++step) batches.step(step, 0);
  EXPECT_EQ(split.tokens(), trees * (tokens - 1));
  EXPECT_LT(in_use() - before, 100 * trees) << "where all would be " << 16 * trees * tokens << " bytes";
}

TEST(DataSplit, FilesThatDoNotBelongTogetherAreRefusedByName) {
  const TemporaryFolder folder;
  write_split(folder / "good", small_shard);
  write_split(folder / "other", small_shard, 2, 80);
  const SplitFiles good = find_split(folder / "good", "train"), other = find_split(folder / "other", "train");
  const auto count = std::ssize(good.files);
  const auto name = [&](std::int64_t number) { return shard_name("train", number, count); };
  const auto refusal = [&](const std::function<void(const std::string&)>& change) {
    const std::string copy = folder / "copy";
    std::filesystem::remove_all(copy);
    std::filesystem::copy(folder / "good", copy);
    change(copy + "/");
    const std::string of_mapped = message_of<DataError>([&] { DataSplit(find_split(copy, "train")); });
    EXPECT_EQ(message_of<DataError>([&] { read_whole(find_split(copy, "train")); }), of_mapped);
    return of_mapped;
  };
  namespace fs = std::filesystem;
  expect_contains(refusal([&](const std::string& copy) { fs::remove(copy + name(2)); }),
                  "copy/" + name(2) + ": this shard is missing: ");
  expect_contains(refusal([&](const std::string& copy) { fs::remove(copy + name(count)); }),
                  "copy/" + name(count) + ": this shard is missing: ");
  expect_contains(refusal([&](const std::string& copy) { fs::copy(copy + name(1), copy + "train.h5"); }),
                  "copy: the split train is there 2 times, as train.h5 and as " + name(1));
  expect_contains(refusal([&](const std::string& copy) {
                    fs::copy(other.files[0], copy + shard_name("train", 1, count + 1));
                  }),
                  "keep the files of one preparation");
  for (const std::int64_t number : {std::int64_t{1}, std::int64_t{3}}) {
    const std::string message = refusal([&](const std::string& copy) {
      fs::copy(other.files[at(number - 1)], copy + name(number), fs::copy_options::overwrite_existing);
    });
    expect_contains(message, " does not follow ");
    expect_contains(message, name(number));
    expect_contains(message, "one of them is of another preparation; take all shards of one preparation");
  }
  expect_contains(refusal([&](const std::string& copy) {
                    fs::rename(copy + name(2), copy + "x");
                    fs::rename(copy + name(3), copy + name(2));
                    fs::rename(copy + "x", copy + name(3));
                  }),
                  name(2) + ": is shard 3 of its split, and its name says shard 2; take all");
  expect_contains(refusal([&](const std::string& copy) {
                    for (std::int64_t i = 1; i < count; ++i)
                      fs::rename(copy + name(i), copy + shard_name("train", i, count - 1));
                    fs::remove(copy + name(count));
                  }),
                  "is not the last shard of its split, and its name says");
  expect_contains(refusal([&](const std::string& copy) {
                    fs::rename(copy + name(2), copy + "x");
                    for (std::int64_t i = 1; i <= count; ++i) fs::remove(copy + name(i));
                    fs::rename(copy + "x", copy + "train.h5");
                  }),
                  "train.h5: is shard 2 of its split, and its name says a whole one");
  expect_contains(message_of<DataError>([&] { splits_in(folder / "none"); }), "none: no such folder");
  EXPECT_TRUE(find_split(folder / "good", "dev").files.empty());
}

// Of every shard, the last too.
TEST(DataSplit, ADamagedShardIsRefusedByName) {
  const TemporaryFolder folder;
  write_split(folder.path(), small_shard, 1, 12);
  const SplitFiles split = find_split(folder.path(), "train");
  const Dataset good = read_whole(split);
  for (const auto& file : {split.files[1], split.files.back()}) {
    const std::string bytes = bytes_of(file.string());
    int noticed = 0;
    for (std::size_t i = 11; i < bytes.size(); i += 211) {
      std::string bad = bytes;
      bad[i] = static_cast<char>(bad[i] ^ 0x21);
      folder.write(file.filename().string(), bad);
      try {
        EXPECT_EQ(read_whole(split), good) << "byte " << i;
      } catch (const DataError& error) {
        ++noticed;
        expect_contains(error.what(), file.filename().string());
      }
    }
    EXPECT_GT(noticed, 20);
    folder.write(file.filename().string(), bytes);
  }
}

}  // namespace
}  // namespace chorus
