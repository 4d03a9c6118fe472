#include "data/corpora/corpus.h"

#include "tests/data/scratch.h"

namespace chorus {
namespace {

TEST(Corpus, KnowsItsNames) {
  EXPECT_EQ(dialogue_corpora(),
            (std::vector<std::string>{"meld", "emorynlp", "iemocap", "dailydialog", "jsonl"}));
}

TEST(Corpus, UnknownNamesAreConfigurationErrorsWithTheNearest) {
  std::vector<SplitLedger> ledgers;
  expect_contains(
      message_of<ConfigurationError>([&] { read_corpus("emory", "unused", {}, ledgers); }),
      "'emory' is no corpus of dialogues: these are meld, emorynlp, iemocap, dailydialog, jsonl; did "
      "you mean 'emorynlp'?");
}

TEST(Corpus, EveryReaderRefusesFoldersThatAreNotThereOrEmpty) {
  const TemporaryFolder folder;
  std::vector<SplitLedger> ledgers;
  for (const std::string& name : dialogue_corpora()) {
    expect_contains(message_of<DataError>([&] { read_corpus(name, folder / "none", {}, ledgers); }),
                    "none: no such folder");
    expect_contains(message_of<DataError>([&] { read_corpus(name, folder.path(), {}, ledgers); }),
                    folder.path() + ": has n");
  }
  EXPECT_TRUE(ledgers.empty());
}

TEST(Corpus, ReadsByName) {
  const TemporaryFolder folder;
  folder.write("test.jsonl",
               R"({"id": "a", "utterances": [{"speaker": "Ann", "text": "Hi.", "label": "joy"}]})");
  std::vector<SplitLedger> ledgers(1);
  const Corpus corpus = read_corpus("jsonl", folder.path(), {}, ledgers);
  EXPECT_EQ(corpus.name, "jsonl");
  ASSERT_EQ(ledgers.size(), 2U) << "ledgers are appended";
  EXPECT_EQ(ledgers[1].split, "test");
}

}  // namespace
}  // namespace chorus
