#include "data/corpora/leakage.h"

#include <nlohmann/json.hpp>

#include "data/corpora/corpus.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

Corpus corpus_of(const std::string& name,
                 const std::vector<std::pair<std::string, std::vector<std::string>>>& splits) {
  Corpus corpus{name, {"joy"}, {}};
  for (const auto& [split, texts] : splits) {
    corpus.splits.push_back({split, "", {{"d0", {}}}});
    for (const std::string& text : texts) {
      auto& utterances = corpus.splits.back().dialogues[0].utterances;
      utterances.push_back({std::to_string(utterances.size()), "Ann", text, "joy"});
    }
  }
  return corpus;
}

TEST(Leakage, TextsAreComparedWithoutCaseAndPunctuation) {
  EXPECT_EQ(comparable_text("  Well… I—“can’t” SAY,\tno-one\xC2\xA0\n knows 27! "),
            "well ican't say no one knows 27");
  EXPECT_EQ(comparable_text("Oh, 'tis ‘good’"), "oh 'tis 'good'");
  EXPECT_EQ(comparable_text("caf\xC3\xA9 \xC2\xA3 \xF0\x9F\x98\x80"), "café 😀")
      << "letters beyond ASCII stay";
  EXPECT_EQ(comparable_text("- ?! -"), "");
}

TEST(Leakage, FindsTestUtterancesInEverySplitOfTheOther) {
  const std::string shared = "We were on a long break!", twice = "It is never off the table.";
  const Corpus a = corpus_of(
      "a", {{"train", {"unused"}}, {"test", {shared, "Too short.", twice, "One of our own, not theirs."}}});
  const Corpus b = corpus_of(
      "b", {{"train", {"we were on a long break", twice}}, {"dev", {"Too short."}}, {"test", {twice}}});
  const LeakageReport report = find_leakage(a, b, 6);
  EXPECT_EQ(report.utterances, 4);
  EXPECT_EQ(report.compared, 3);
  EXPECT_EQ(report.found_in,
            (std::vector<std::pair<std::string, std::int64_t>>{{"train", 2}, {"dev", 0}, {"test", 1}}));
  ASSERT_EQ(report.leaked.size(), 2U);
  EXPECT_EQ(report.leaked[0].utterance, "0");
  EXPECT_EQ(report.leaked[1].found_in, (std::vector<std::string>{"b/train", "b/test"}));
  EXPECT_EQ(find_leakage(a, b, 2).found_in[1].second, 1);
  EXPECT_EQ(to_table({report}),
            "a/test: 3 of 4 utterances are long enough to compare\n"
            "  in b/train      2  66.7 %\n"
            "  in b/dev        0   0.0 %\n"
            "  in b/test       1  33.3 %\n"
            "  in any of them  2  66.7 %\n");
  const std::string lines = to_json_lines({report});
  EXPECT_EQ(
      lines.substr(0, lines.find('\n')),
      R"({"corpus":"a","split":"test","dialogue":"d0","utterance":"0","text":"We were on a long break!",)"
      R"("found_in":"b/train"})");
  EXPECT_EQ(nlohmann::json::parse(lines.substr(lines.find('\n')))["found_in"], "b/train, b/test");
}

TEST(Leakage, NeedsATestSplit) {
  expect_contains(message_of<DataError>([] {
                    find_leakage(corpus_of("a", {{"train", {"x"}}}), {}, 1);
                  }),
                  "the corpus a has no test split");
}

// The counts of an independent comparison of the same files.
TEST(Leakage, BetweenMeldAndEmoryNlp) {
  const std::string meld_folder = real_file("data/meld"), emorynlp_folder = real_file("data/emorynlp");
  if (meld_folder.empty() || emorynlp_folder.empty()) GTEST_SKIP() << not_there("data/meld or data/emorynlp");
  std::vector<SplitLedger> ledgers;
  const Corpus meld = read_corpus("meld", meld_folder, {}, ledgers);
  const Corpus emorynlp = read_corpus("emorynlp", emorynlp_folder, {}, ledgers);
  using Found = std::vector<std::pair<std::string, std::int64_t>>;
  const LeakageReport in_emorynlp = find_leakage(meld, emorynlp, 6),
                      in_meld = find_leakage(emorynlp, meld, 6);
  EXPECT_EQ(in_emorynlp.compared, 1503);
  EXPECT_EQ(in_emorynlp.found_in, (Found{{"train", 211}, {"dev", 55}, {"test", 16}}));
  EXPECT_EQ(in_meld.compared, 499);
  EXPECT_EQ(in_meld.found_in[0], (Found::value_type{"train", 72}));
}

}  // namespace
}  // namespace chorus
