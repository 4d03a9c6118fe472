#include "data/corpora/sample_corpus.h"

#include <algorithm>
#include <map>
#include <set>

#include "data/corpora/meld.h"
#include "data/text/text_file.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

const SampleCorpusOptions small{
    .seed = 1, .train_dialogues = 300, .dev_dialogues = 5, .test_dialogues = 50, .paragraphs = 200};

Corpus read(const TemporaryFolder& folder, const std::string& name) {
  Ledger ledger;
  return read_meld(folder / name, {}, ledger.splits);
}

TEST(SampleCorpus, IsAMeldCorpus) {
  const TemporaryFolder folder;
  write_sample_corpus(folder / "c", small);
  const Corpus corpus = read(folder, "c");
  ASSERT_EQ(corpus.splits.size(), 3U);
  EXPECT_EQ(corpus.splits[0].dialogues.size(), 300U);
  std::map<std::string, double> share;
  std::set<std::string> words;
  double utterances = 0;
  for (const Dialogue& dialogue : corpus.splits[0].dialogues) {
    std::set<std::string> speakers;
    EXPECT_GE(dialogue.utterances.size(), 4U);
    EXPECT_LE(dialogue.utterances.size(), 12U);
    for (const Utterance& utterance : dialogue.utterances) {
      speakers.insert(utterance.speaker);
      share[utterance.label] += 1;
      utterances += 1;
      for (std::size_t begin = 0; begin < utterance.text.size();) {
        const std::size_t end = std::min(utterance.text.find(' ', begin), utterance.text.size());
        words.insert(utterance.text.substr(begin, end - begin));
        begin = end + 1;
      }
    }
    EXPECT_GE(speakers.size(), 2U);
    EXPECT_LE(speakers.size(), 4U);
  }
  EXPECT_EQ(share.size(), 7U);
  EXPECT_GT(share["neutral"] / utterances, 0.42);
  EXPECT_LT(share["neutral"] / utterances, 0.52);
  for (const auto& [label, count] : share) EXPECT_GT(count / utterances, 0.02) << label;
  EXPECT_GT(words.size(), 400U);
}

// How often each text carries each label, names taken out.
std::map<std::string, std::map<std::string, int>> labels_by_text(const CorpusSplit& split) {
  std::map<std::string, std::map<std::string, int>> labels;
  for (const Dialogue& dialogue : split.dialogues) {
    for (const Utterance& utterance : dialogue.utterances) {
      std::string text = utterance.text;
      for (const char* name : {"Mia", "Leo", "Nora", "Omar", "Tess", "Ivan"}) {
        if (text.starts_with(name)) text.erase(0, std::string(name).size());
      }
      ++labels[text][utterance.label];
    }
  }
  return labels;
}

TEST(SampleCorpus, TheWordsAloneDoNotTellButTheLineBeforeDoes) {
  const TemporaryFolder folder;
  write_sample_corpus(folder / "c", small);
  const Corpus corpus = read(folder, "c");
  const auto labels = labels_by_text(corpus.splits[0]);
  int utterances = 0, best_guess = 0;
  std::set<std::string> ambiguous;
  for (const auto& [text, counts] : labels) {
    int most = 0;
    for (const auto& [label, count] : counts) {
      utterances += count;
      most = std::max(most, count);
    }
    best_guess += most;
    if (counts.size() > 1) ambiguous.insert(text);
  }
  EXPECT_LT(best_guess, 0.74 * utterances) << "the best that anyone can do who sees the utterance only";
  EXPECT_GT(best_guess, 0.5 * utterances);
  EXPECT_GT(ambiguous.size(), 30U);

  // The label of an ambiguous text is a function of the text before it.
  std::map<std::string, std::string> label_after;
  int checked = 0, repeated = 0;
  for (const Dialogue& dialogue : corpus.splits[0].dialogues) {
    for (std::size_t i = 0; i < dialogue.utterances.size(); ++i) {
      const Utterance& utterance = dialogue.utterances[i];
      if (!ambiguous.contains(utterance.text)) continue;
      ASSERT_GT(i, 0U) << "a reaction needs something before it";
      const auto [entry, is_new] = label_after.try_emplace(dialogue.utterances[i - 1].text, utterance.label);
      EXPECT_EQ(entry->second, utterance.label) << dialogue.utterances[i - 1].text << " / " << utterance.text;
      ++checked;
      repeated += is_new ? 0 : 1;
    }
  }
  EXPECT_GT(checked, utterances / 4);
  EXPECT_GT(repeated, 0);
}

TEST(SampleCorpus, ReactionsFollowTheKindOfNews) {
  const TemporaryFolder folder;
  write_sample_corpus(folder / "c", small);
  const std::map<std::string, std::string> kinds{
      {"won the baking contest", "joy"},           {"is in the hospital", "sadness"},
      {"found the lock broken", "fear"},           {"sneezed into the salad", "disgust"},
      {"broke the promise again", "anger"},        {"speaks nine languages", "surprise"},
      {"parked behind the post office", "neutral"}};
  const std::vector<std::string> reactions{"eally?", "can't believe it.", "o way!", "ay that again.",
                                           "no words."};
  std::map<std::string, int> seen;
  const Corpus corpus = read(folder, "c");
  for (const Dialogue& dialogue : corpus.splits[0].dialogues) {
    for (std::size_t i = 1; i < dialogue.utterances.size(); ++i) {
      const std::string& text = dialogue.utterances[i].text;
      const bool is_reaction =
          std::any_of(reactions.begin(), reactions.end(),
                      [&](const std::string& reaction) { return text.ends_with(reaction); });
      if (!is_reaction) continue;
      for (const auto& [event, label] : kinds) {
        if (dialogue.utterances[i - 1].text.find(event) == std::string::npos) continue;
        EXPECT_EQ(dialogue.utterances[i].label, label) << event;
        EXPECT_EQ(dialogue.utterances[i - 1].label, "neutral");
        ++seen[event];
      }
    }
  }
  EXPECT_GE(seen.size(), 5U);
}

TEST(SampleCorpus, IsAFunctionOfTheSeed) {
  const TemporaryFolder folder;
  SampleCorpusOptions other = small;
  other.seed = 2;
  write_sample_corpus(folder / "a", small);
  write_sample_corpus(folder / "b", small);
  write_sample_corpus(folder / "c", other);
  for (const char* name :
       {"train_sent_emo.csv", "dev_sent_emo.csv", "test_sent_emo.csv", "pretraining.txt"}) {
    EXPECT_EQ(bytes_of(folder / "a" + "/" + name), bytes_of(folder / "b" + "/" + name));
    EXPECT_NE(bytes_of(folder / "a" + "/" + name), bytes_of(folder / "c" + "/" + name));
  }
  EXPECT_NE(bytes_of(folder / "a/train_sent_emo.csv").substr(0, 1000),
            bytes_of(folder / "a/test_sent_emo.csv").substr(0, 1000));
}

TEST(SampleCorpus, TextSaysHowPeopleFeelAndWhy) {
  const TemporaryFolder folder;
  write_sample_corpus(folder / "c", small);
  const std::string text = read_text_file(folder / "c/pretraining.txt");
  for (const char* word :
       {"joy", "anger", "fear", "sadness", "surprise", "disgust", "neutral", "because", "happy"}) {
    expect_contains(text, word);
  }
  EXPECT_EQ(text.find('{'), std::string::npos);
  EXPECT_EQ(text.find("Feeling:"), std::string::npos) << "no prompts in the text";
}

TEST(SampleCorpus, NeverOverwrites) {
  const TemporaryFolder folder;
  write_sample_corpus(folder / "c", small);
  expect_contains(message_of<ConfigurationError>([&] { write_sample_corpus(folder / "c", small); }),
                  "exists already");
  SampleCorpusOptions none = small;
  none.test_dialogues = 0;
  expect_contains(message_of<ConfigurationError>([&] { write_sample_corpus(folder / "d", none); }),
                  "at least one dialogue in each split");
}

}  // namespace
}  // namespace chorus
