#include "data/sets/batches.h"

#include <algorithm>
#include <ctime>
#include <map>
#include <random>
#include <set>

#include "ops/base/index.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

// Dialogues: a growing history with a branch of question and answer after each line.
Dataset dialogues(int count, unsigned seed = 1) {
  std::mt19937 random(seed);
  DatasetOrigin origin;
  origin.split = "train";
  origin.corpora = {"invented"};
  origin.vocabulary_size = 100;
  DatasetBuilder builder(origin);
  for (int dialogue = 0; dialogue < count; ++dialogue) {
    std::vector<std::int32_t> history{1, 2, 3};
    std::vector<GroupSample> samples;
    const int turns = 1 + static_cast<int>(random() % 8);
    for (int turn = 0; turn < turns; ++turn) {
      for (unsigned i = 0; i < 2 + random() % 5; ++i)
        history.push_back(static_cast<std::int32_t>(10 + random() % 90));
      std::vector<std::int32_t> tokens = history;
      tokens.insert(tokens.end(), {4, 5, static_cast<std::int32_t>(6 + random() % 4), 0});
      GroupSample sample{{tokens, std::vector<std::int32_t>(tokens.size(), unsupervised)}};
      sample.sequence.labels[tokens.size() - 1] = tokens[tokens.size() - 1];
      sample.sequence.labels[tokens.size() - 2] = tokens[tokens.size() - 2];
      samples.push_back(sample);
    }
    builder.add_group(samples, "here");
  }
  return builder.finish();
}

// What a micro-batch asks of the model: for every target the ids of all tokens that its row sees, and the
// token.
using Question = std::pair<std::vector<std::int64_t>, std::int32_t>;

std::multiset<Question> questions(const Batches::Step& step) {
  std::multiset<Question> all;
  for (const MicroBatch& batch : step.microbatches) {
    std::vector<std::int32_t> segment_of(batch.tokens.size());
    for (std::size_t s = 0; s < batch.forest.segments.size(); ++s) {
      const Segment& segment = batch.forest.segments[s];
      for (std::int32_t t = 0; t < segment.length; ++t)
        segment_of[at(segment.first + t)] = static_cast<std::int32_t>(s);
    }
    for (const Target& target : batch.targets) {
      Question question{{}, target.token};
      const std::int32_t segment = segment_of[at(target.row)];
      std::vector<Forest::Range> ranges = batch.forest.ancestor_ranges(segment);
      ranges.push_back({batch.forest.segments[at(segment)].first, target.row + 1});
      for (const auto& range : ranges) {
        for (std::int32_t i = range.begin; i < range.end; ++i)
          question.first.push_back(batch.token_ids[at(i)]);
      }
      all.insert(std::move(question));
    }
  }
  return all;
}

std::multiset<Question> questions_of_step(const Batches& batches, std::int64_t step, int ranks) {
  std::multiset<Question> all;
  for (int rank = 0; rank < ranks; ++rank) all.merge(questions(batches.step(step, rank)));
  return all;
}

std::multiset<Question> expected_questions(const Dataset& dataset) {
  std::multiset<Question> all;
  for (std::int64_t sample = 0; sample < std::ssize(dataset.samples); ++sample) {
    const std::int64_t first = dataset.tree_tokens[at(dataset.samples[at(sample)].tree)];
    const std::vector<std::int32_t> rows = dataset.rows_of(sample);
    for (const Target& target : dataset.targets_of(sample)) {
      Question question{{}, target.token};
      for (const std::int32_t row : rows) {
        question.first.push_back(first + row);
        if (row == target.row) break;
      }
      all.insert(std::move(question));
    }
  }
  return all;
}

void check_microbatch(const Dataset& dataset, const MicroBatch& batch, std::int64_t limit) {
  EXPECT_NO_THROW(validate(batch.forest));
  ASSERT_EQ(std::ssize(batch.tokens), batch.forest.tokens);
  ASSERT_EQ(batch.token_ids.size(), batch.tokens.size());
  EXPECT_LE(batch.forest.tokens, limit);
  EXPECT_LE(std::ssize(batch.targets), limit);
  std::int64_t unshared = 0;
  for (std::size_t i = 0; i < batch.tokens.size(); ++i) {
    EXPECT_EQ(batch.tokens[i], dataset.tokens[at(batch.token_ids[i])]);
  }
  for (std::size_t i = 0; i < batch.targets.size(); ++i) {
    if (i > 0) {
      EXPECT_LE(batch.targets[i - 1].row, batch.targets[i].row);
    }
    EXPECT_GE(batch.targets[i].sample, 0);
    EXPECT_LT(batch.targets[i].sample, std::ssize(batch.samples));
  }
  for (const std::int64_t sample : batch.samples) unshared += dataset.length(sample);
  EXPECT_EQ(batch.unshared_tokens, unshared);
}

TEST(Batches, WhatAStepAsksDoesNotDependOnTheLayout) {
  const Dataset dataset = dialogues(40);
  BatchOptions options{.batch_size = 13, .tokens_per_microbatch = 60, .seed = 5};
  const Batches reference(dataset, options);
  std::multiset<Question> whole_epoch;
  for (std::int64_t step = 0; step < reference.steps_per_epoch(); ++step) {
    const auto expected = questions_of_step(reference, step, 1);
    whole_epoch.insert(expected.begin(), expected.end());
    for (const bool sharing : {true, false}) {
      for (const int ranks : {1, 2, 3, 8}) {
        for (const std::int64_t limit : {60, 100, 4096}) {
          options.prefix_sharing = sharing;
          options.tokens_per_microbatch = limit;
          const Batches batches(dataset, options, ranks);
          EXPECT_EQ(questions_of_step(batches, step, ranks), expected)
              << "step " << step << " sharing " << sharing << " ranks " << ranks << " limit " << limit;
        }
      }
    }
  }
  EXPECT_EQ(whole_epoch, expected_questions(dataset));
}

TEST(Batches, MicroBatchesKeepTheirPromises) {
  const Dataset dataset = dialogues(40);
  for (const bool sharing : {true, false}) {
    for (const int ranks : {1, 3}) {
      const BatchOptions options{
          .batch_size = 17, .tokens_per_microbatch = 70, .seed = 1, .prefix_sharing = sharing};
      const Batches batches(dataset, options, ranks);
      for (std::int64_t s = 0; s < batches.steps_per_epoch(); ++s) {
        std::int64_t samples = 0, supervised = 0, tokens = 0, unshared = 0;
        Batches::Step step;
        for (int rank = 0; rank < ranks; ++rank) {
          step = batches.step(s, rank);
          for (const MicroBatch& batch : step.microbatches) {
            check_microbatch(dataset, batch, 70);
            samples += std::ssize(batch.samples);
            supervised += std::ssize(batch.targets);
            tokens += batch.forest.tokens;
            unshared += batch.unshared_tokens;
            if (!sharing) {
              EXPECT_EQ(batch.forest.segments.size(), batch.samples.size());
            }
          }
        }
        EXPECT_EQ(step.samples, samples);
        EXPECT_EQ(step.supervised_tokens, supervised);
        EXPECT_EQ(step.tokens, tokens);
        EXPECT_EQ(step.unshared_tokens, unshared);
        if (sharing) {
          EXPECT_LE(tokens, unshared);
        } else {
          EXPECT_EQ(tokens, unshared);
        }
      }
    }
  }
}

std::vector<std::int64_t> samples_of(const Batches& batches, std::int64_t step) {
  std::vector<std::int64_t> samples;
  for (const MicroBatch& batch : batches.step(step, 0).microbatches) {
    samples.insert(samples.end(), batch.samples.begin(), batch.samples.end());
  }
  std::sort(samples.begin(), samples.end());
  return samples;
}

TEST(Batches, EverySampleOncePerEpochInAnotherOrder) {
  const Dataset dataset = dialogues(50);
  const std::int64_t total = std::ssize(dataset.samples);
  const Batches batches(dataset, {.batch_size = 16, .seed = 9});
  EXPECT_EQ(batches.steps_per_epoch(), (total + 15) / 16);
  std::vector<std::vector<std::int64_t>> epochs;
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::int64_t> seen;
    for (std::int64_t step = 0; step < batches.steps_per_epoch(); ++step) {
      const auto samples = samples_of(batches, epoch * batches.steps_per_epoch() + step);
      const bool last = step + 1 == batches.steps_per_epoch();
      EXPECT_EQ(std::ssize(samples), last ? total - 16 * step : 16);
      seen.insert(seen.end(), samples.begin(), samples.end());
    }
    epochs.push_back(seen);
    std::sort(seen.begin(), seen.end());
    for (std::int64_t i = 0; i < total; ++i) ASSERT_EQ(seen[at(i)], i);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
}

TEST(Batches, AreAPureFunctionOfSeedAndStep) {
  const Dataset dataset = dialogues(30);
  const Batches once(dataset, {.batch_size = 8, .seed = 4});
  const Batches again(dataset, {.batch_size = 8, .seed = 4});
  const Batches other(dataset, {.batch_size = 8, .seed = 5});
  EXPECT_EQ(samples_of(once, 0), samples_of(again, 0));
  const std::int64_t later = once.steps_per_epoch() + 3;
  const auto expected = samples_of(once, later);
  samples_of(again, 2 * once.steps_per_epoch());  // steps may be asked for in any order
  EXPECT_EQ(samples_of(again, later), expected);
  EXPECT_NE(samples_of(other, 0), samples_of(once, 0));
}

TEST(Batches, WithoutShufflingSamplesKeepTheOrderOfTheFile) {
  const Dataset dataset = dialogues(10);
  const Batches batches(dataset, {.batch_size = 7, .shuffle = false, .seed = 3});
  const auto first = samples_of(batches, 0), second_epoch = samples_of(batches, batches.steps_per_epoch());
  for (std::int64_t i = 0; i < 7; ++i) EXPECT_EQ(first[at(i)], i);
  EXPECT_EQ(second_epoch, first);
}

// Epoch e of the first n takes the trees before the e-th n-th; later ones are those of a training without a curriculum.
TEST(Batches, ACurriculumAddsAPartInEachEpoch) {
  const Dataset dataset = dialogues(20);
  BatchOptions options{.batch_size = 8, .seed = 4};
  const Batches plain(dataset, options);
  options.curriculum = 3;
  const Batches batches(dataset, options);
  const std::int64_t trees[] = {6, 13, 20, 20};
  for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
    std::vector<std::int64_t> seen;
    for (std::int64_t step = batches.epochs().begin(epoch); step < batches.epochs().begin(epoch + 1);
         ++step) {
      const std::vector<std::int64_t> samples = samples_of(batches, step);
      seen.insert(seen.end(), samples.begin(), samples.end());
      if (trees[epoch] == 20) {
        EXPECT_EQ(samples,
                  samples_of(plain, plain.epochs().begin(epoch) + step - batches.epochs().begin(epoch)));
      }
    }
    EXPECT_FALSE(std::ranges::is_sorted(seen));
    std::ranges::sort(seen);
    ASSERT_EQ(std::ssize(seen), dataset.tree_samples[at(trees[epoch])]);
    for (std::int64_t i = 0; i < std::ssize(seen); ++i) ASSERT_EQ(seen[at(i)], i);
  }
  options.curriculum = 21;
  EXPECT_THROW(Batches(dataset, options), ConfigurationError);
}

// What stands in the trunk beyond the last branch is not computed.
TEST(Batches, ATrunkIsCutToWhatIsNeeded) {
  DatasetOrigin origin;
  origin.corpora = {"invented"};
  origin.vocabulary_size = 100;
  DatasetBuilder builder(origin);
  std::vector<GroupSample> samples;
  std::vector<std::int32_t> longest(50, 7);
  samples.push_back({{longest, longest}});
  samples[0].sequence.labels[0] = unsupervised;
  samples.push_back({{{7, 7, 7, 8, 9}, {-100, -100, -100, -100, 9}}});
  samples.push_back({{{7, 7, 7, 8, 10, 11}, {-100, -100, -100, -100, -100, 11}}});
  builder.add_group(samples, "here");
  const Dataset dataset = builder.finish();
  const Batches batches(dataset, {.batch_size = 1, .shuffle = false});
  const MicroBatch alone = batches.step(1, 0).microbatches.at(0);
  EXPECT_EQ(alone.tokens, (std::vector<std::int32_t>{7, 7, 7, 8}));
  EXPECT_EQ(alone.forest.segments, (std::vector<Segment>{{0, 4, -1, 0}})) << "a single path is a single root";
  EXPECT_EQ(alone.targets, (std::vector<Target>{{3, 9, 0}}));
  EXPECT_EQ(alone.token_ids, (std::vector<std::int64_t>{0, 1, 2, 49}));

  const Batches all(dataset, {.batch_size = 3, .shuffle = false});
  EXPECT_EQ(all.step(0, 0).tokens, 49 + 1 + 1);
}

// Two samples of a step that do not need the whole trunk, with a branch.
TEST(Batches, SegmentsAreRenumberedWhenSomeAreLeftOut) {
  DatasetOrigin origin;
  origin.corpora = {"invented"};
  origin.vocabulary_size = 100;
  DatasetBuilder builder(origin);
  std::vector<GroupSample> samples;
  samples.push_back({{{1, 2, 3, 4, 5}, {-100, -100, -100, -100, 5}}});
  samples.push_back({{{1, 2, 30, 31}, {-100, -100, -100, 31}}});
  samples.push_back({{{1, 2, 40, 41}, {-100, -100, -100, 41}}});
  builder.add_group(samples, "here");
  const Dataset dataset = builder.finish();
  const Batches batches(dataset, {.batch_size = 2, .shuffle = false});
  const MicroBatch last = batches.step(1, 0).microbatches.at(0);
  EXPECT_EQ(last.tokens, (std::vector<std::int32_t>{1, 2, 40}));
  const Batches three(dataset, {.batch_size = 3, .tokens_per_microbatch = 5, .shuffle = false});
  const auto pieces = three.step(0, 0).microbatches;
  ASSERT_EQ(pieces.size(), 2U);
  EXPECT_EQ(pieces[0].samples, (std::vector<std::int64_t>{0, 1}));
  EXPECT_EQ(pieces[0].forest.segments, (std::vector<Segment>{{0, 4, -1, 0}, {4, 1, 0, 2}}));
  EXPECT_EQ(pieces[1].forest.segments, (std::vector<Segment>{{0, 3, -1, 0}}));
}

TEST(Batches, RanksAreBalancedEvenWithFewTrees) {
  const Dataset dataset = dialogues(60);
  const int ranks = 4;
  const Batches batches(dataset, {.batch_size = 32, .seed = 2}, ranks);
  std::int64_t busiest = 0, total = 0;
  for (std::int64_t step = 0; step + 1 < batches.steps_per_epoch(); ++step) {
    std::int64_t most = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      std::int64_t tokens = 0;
      for (const MicroBatch& batch : batches.step(step, rank).microbatches) tokens += batch.forest.tokens;
      most = std::max(most, tokens);
      total += tokens;
    }
    busiest += most;
  }
  EXPECT_LT(static_cast<double>(busiest * ranks), 1.35 * static_cast<double>(total));
}

TEST(Batches, RanksWithoutWorkGetNoMicroBatch) {
  const Dataset dataset = dialogues(3);
  const Batches batches(dataset, {.batch_size = 2, .shuffle = false}, 8);
  int with_work = 0;
  for (int rank = 0; rank < 8; ++rank) with_work += batches.step(0, rank).microbatches.empty() ? 0 : 1;
  EXPECT_GE(with_work, 1);
  EXPECT_LE(with_work, 2);
  EXPECT_EQ(batches.step(0, 7).samples, 2) << "the numbers are those of all ranks";
}

TEST(Batches, RefusesWhatCannotWork) {
  const Dataset dataset = dialogues(5);
  std::int64_t longest = 0;
  for (std::int64_t i = 0; i < std::ssize(dataset.samples); ++i)
    longest = std::max(longest, dataset.length(i));
  EXPECT_NO_THROW(Batches(dataset, {.tokens_per_microbatch = longest}));
  const std::string message =
      message_of<ConfigurationError>([&] { Batches(dataset, {.tokens_per_microbatch = longest - 1}); });
  expect_contains(message, "is " + std::to_string(longest) + " tokens long");
  expect_contains(message, "raise --tokens-per-microbatch");
  expect_contains(message_of<ConfigurationError>([&] { Batches(dataset, {.batch_size = 0}); }),
                  "--batch-size is 0");
  expect_contains(message_of<ConfigurationError>([&] { Batches(dataset, {.tokens_per_microbatch = 0}); }),
                  "--tokens-per-microbatch is 0");
  expect_contains(message_of<ConfigurationError>([&] { Batches(dataset, {}, 0); }), "0 data-parallel");
  DatasetOrigin origin;
  origin.corpora = {"invented"};
  origin.split = "dev";
  origin.vocabulary_size = 4;
  const Dataset empty = DatasetBuilder(origin).finish();
  expect_contains(message_of<DataError>([&] { Batches(empty, {}); }), "the dev split has no samples");
}

TEST(Batches, WeightsOfAStepAreThoseOfItsTargets) {
  Dataset dataset = dialogues(9);
  for (std::size_t i = 0; i < dataset.samples.size(); ++i)
    dataset.samples[i].weight = static_cast<float>(i % 4) / 4;
  const Batches batches(dataset, {.batch_size = 11, .seed = 5}, 3);
  for (std::int64_t step = 0; step < batches.steps_per_epoch(); ++step) {
    double sum = 0;
    for (int rank = 0; rank < 3; ++rank) {
      for (const MicroBatch& batch : batches.step(step, rank).microbatches) {
        ASSERT_EQ(batch.weights.size(), batch.samples.size());
        for (std::size_t i = 0; i < batch.samples.size(); ++i)
          EXPECT_EQ(batch.weights[i], dataset.samples[at(batch.samples[i])].weight);
        for (const Target& target : batch.targets)
          sum += static_cast<double>(batch.weights[at(target.sample)]);
      }
    }
    EXPECT_EQ(batches.step(step, 2).weight, sum) << "quarters add up without rounding";
  }
}

// Time of the processor, so that other tests that run beside it do not count. A sanitizer's build makes no sense here.
TEST(Batches, CostLittle) {
  const Dataset dataset = dialogues(2000);
  const Batches batches(dataset, {.batch_size = 64, .seed = 1}, 4);
  std::int64_t tokens = 0;
  const std::clock_t begin = std::clock();
  for (std::int64_t step = 0; step < batches.steps_per_epoch(); ++step)
    tokens += batches.step(step, 0).tokens;
  const double milliseconds = 1e3 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  EXPECT_LT(milliseconds / (static_cast<double>(tokens) / 1000), 1.0) << "milliseconds per thousand tokens";
}

}  // namespace
}  // namespace chorus
