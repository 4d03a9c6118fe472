#include "data/corpora/corpus_statistics.h"

#include "tests/data/scratch.h"

namespace chorus {
namespace {

Corpus some_corpus() {
  Corpus corpus{"jsonl", {"joy", "fear"}, {}};
  corpus.splits.push_back(
      {"train",
       "a.jsonl",
       {{"0", {{"0", "Ann", "one two", "joy"}, {"1", "Bo", "one", "joy"}, {"2", "Ann", "a b c", ""}}},
        {"1",
         {{"0", "Cy", "one", "fear", 2, {{"caption", std::make_shared<const std::string>("Cy runs.")}}}}}}});
  corpus.splits.push_back({"test", "b.jsonl", {{"0", {{"0", "Ann", "one", "joy"}}}}});
  return corpus;
}

TEST(CorpusStatistics, LengthsHaveMeanPercentileAndLongest) {
  std::vector<std::int64_t> lengths(100);
  for (std::size_t i = 0; i < 100; ++i) lengths[i] = static_cast<std::int64_t>(100 - i);
  const LengthStatistics hundred = statistics_of(lengths);
  EXPECT_DOUBLE_EQ(hundred.mean, 50.5);
  EXPECT_EQ(hundred.p95, 95);
  EXPECT_EQ(hundred.longest, 100);
  EXPECT_EQ(statistics_of(std::vector<std::int64_t>{7}).p95, 7);
  EXPECT_EQ(statistics_of({1, 2}).p95, 2);
  EXPECT_EQ(statistics_of(std::vector<std::int64_t>{}).longest, 0);
}

TEST(CorpusStatistics, CountsEachSplit) {
  const CorpusStatistics statistics = statistics_of(some_corpus(), std::vector<SplitLedger>(2));
  ASSERT_EQ(statistics.splits.size(), 2U);
  const SplitStatistics& train = statistics.splits[0];
  EXPECT_EQ(train.file, "a.jsonl");
  EXPECT_EQ(train.dialogues, 2);
  EXPECT_EQ(train.utterances, 4);
  EXPECT_EQ(train.label_counts, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(train.without_label, 1);
  EXPECT_EQ(train.with_side_text.at("caption"), 1);
  EXPECT_EQ(train.speakers, 3);
  EXPECT_EQ(train.most_speakers, 2);
  EXPECT_EQ(train.words.longest, 3);
  EXPECT_DOUBLE_EQ(train.words.mean, 7.0 / 4);
  EXPECT_EQ(train.turns.longest, 3);
  EXPECT_DOUBLE_EQ(train.turns.mean, 2);
}

TEST(CorpusStatistics, TableIsAligned) {
  std::vector<SplitLedger> ledgers(2);
  ledgers[0].skipped_rows["no JSON"] = 1234;
  EXPECT_EQ(statistics_of(some_corpus(), ledgers).to_table(),
            "jsonl                             train        test\n"
            "dialogues                             2           1\n"
            "utterances                            4           1\n"
            "  joy                        2   66.7 %  1  100.0 %\n"
            "  fear                       1   33.3 %  0    0.0 %\n"
            "  without label                       1           0\n"
            "  with side text: caption             1           0\n"
            "speakers                              3           1\n"
            "  most in a dialogue                  2           1\n"
            "turns of a dialogue, mean           2.0         1.0\n"
            "  95 % have at most                   3           1\n"
            "  longest                             3           1\n"
            "words of an utterance, mean         1.8         1.0\n"
            "  95 % have at most                   3           1\n"
            "  longest                             3           1\n"
            "skipped: no JSON                  1,234           0\n");
}

}  // namespace
}  // namespace chorus
