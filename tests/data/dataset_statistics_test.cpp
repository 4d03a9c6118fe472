#include "data/dataset_statistics.h"

#include "tests/data/scratch.h"

namespace chorus {
namespace {

// One tree of two samples that share two of three tokens, and one utterance without samples.
Dataset some_dataset() {
  DatasetOrigin origin;
  origin.corpus = "jsonl";
  origin.split = "train";
  origin.recipe_name = "shared";
  origin.tokenizer_hash = 0xAB;
  origin.vocabulary_size = 1000;
  origin.labels = origin.label_words = {"joy", "fear"};
  DatasetBuilder builder(origin);
  builder.add_utterance({"d0", "0", 0});
  builder.add_utterance({"d0", "1", 1});
  builder.add_utterance({"d0", "2", 1});
  const std::vector<std::int32_t> no{-100, -100, -100, 9};
  builder.add_group(std::vector<GroupSample>{{{{1, 2, 3, 9}, no}, 0, 0}, {{{1, 2, 4, 9}, no}, 1, 1}}, "here");
  return builder.finish();
}

TEST(DatasetStatistics, CountsWhatIsStored) {
  const Dataset dataset = some_dataset();
  const DatasetStatistics statistics = statistics_of(dataset);
  EXPECT_EQ(statistics.utterances, 3);
  EXPECT_EQ(statistics.label_counts, (std::vector<std::int64_t>{1, 2}));
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
  tokens.origin.corpus = "tokens";
  tokens.origin.split = "dev";
  tokens.utterances.clear();
  const std::string table = to_table({statistics_of(some_dataset()), statistics_of(tokens)});
  expect_contains(table, "                                  train     dev\n");
  expect_contains(table, "corpus                            jsonl  tokens\n");
  expect_contains(table, "tokenizer              00000000000000ab       -\n");
  expect_contains(table, "  fear                       2   66.7 %       -\n");
  expect_contains(table, "  saved by sharing                1.50x   1.50x\n");
}

}  // namespace
}  // namespace chorus
