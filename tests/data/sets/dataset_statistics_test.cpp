#include "data/sets/dataset_statistics.h"

#include "tests/data/scratch.h"

namespace chorus {
namespace {

// One tree of two samples that share two of three tokens, and one utterance without samples.
Dataset some_dataset() {
  DatasetOrigin origin;
  origin.corpora = {"jsonl", "meld"};
  origin.split = "train";
  origin.recipe_name = "shared";
  origin.tokenizer_hash = 0xAB;
  origin.vocabulary_size = 1000;
  origin.labels = origin.label_words = {"joy", "fear"};
  DatasetBuilder builder(origin);
  builder.add_utterance({0, "d0", "0", "Ann", "Hi.", 0});
  builder.add_utterance({0, "d0", "1", "Bo", "Hi.", 1});
  builder.add_utterance({1, "d0", "2", "Ann", "Bye.", 1});
  builder.set_features({2, {0.5F, 1, 0.25F, 0}});
  const std::vector<std::int32_t> no{-100, -100, -100, 9};
  builder.add_group(std::vector<GroupSample>{{{{1, 2, 3, 9}, no}, 0, 0}, {{{1, 2, 4, 9}, no}, 1, 1, 0.5F}},
                    "here");
  return builder.finish();
}

TEST(DatasetStatistics, CountsWhatIsStored) {
  const Dataset dataset = some_dataset();
  const DatasetStatistics statistics = statistics_of(dataset);
  EXPECT_EQ(statistics.utterances, 3);
  EXPECT_EQ(statistics.label_counts, (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(statistics.of_corpus, (std::map<std::string, std::int64_t>{{"jsonl", 2}, {"meld", 1}}));
  EXPECT_EQ(statistics.about_no_utterance, 0);
  EXPECT_EQ(statistics.weighted, 1);
  EXPECT_EQ(statistics.feature_rows, 2);
  EXPECT_EQ(statistics.feature_width, 2);
  EXPECT_EQ(statistics.trees, 1);
  EXPECT_EQ(statistics.samples, 2);
  EXPECT_EQ(statistics.tokens, 4) << "1 2, 3 and 4; what comes last is only predicted";
  EXPECT_EQ(statistics.unshared_tokens, 6);
  EXPECT_EQ(statistics.supervised_tokens, 2);
  EXPECT_DOUBLE_EQ(statistics.sharing(), 1.5);
  EXPECT_EQ(statistics.sample_tokens.longest, 3);
}

TEST(DatasetStatistics, TableHasAColumnPerDataSet) {
  Dataset tokens = some_dataset();
  tokens.origin = DatasetOrigin{};
  tokens.origin.corpora = {"tokens"};
  tokens.origin.split = "dev";
  tokens.utterances.clear();
  for (Sample& sample : tokens.samples) sample.utterance = sample.answer = -1;
  tokens.features = {};
  const std::string table = to_table({statistics_of(some_dataset()), statistics_of(tokens)});
  expect_contains(table, "                                       train     dev\n");
  expect_contains(table, "corpus                          jsonl + meld  tokens\n");
  expect_contains(table, "tokenizer                   00000000000000ab       -\n");
  expect_contains(table, "  of corpus: meld                          1       0\n");
  expect_contains(table, "  fear                            2   66.7 %       -\n");
  expect_contains(table, "  about no utterance                       0       2\n");
  expect_contains(table, "  of a weight other than 1                 1       1\n");
  expect_contains(table, "  saved by sharing                     1.50x   1.50x\n");
  expect_contains(table, "features                                   2       0\n");
}

}  // namespace
}  // namespace chorus
