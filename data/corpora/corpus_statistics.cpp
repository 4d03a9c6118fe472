#include "data/corpora/corpus_statistics.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "data/text/table.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

std::int64_t count_words(const std::string& text) {
  std::istringstream words(text);
  std::int64_t count = 0;
  for (std::string word; words >> word;) ++count;
  return count;
}

SplitStatistics split_statistics(const CorpusSplit& split, const std::vector<std::string>& labels) {
  SplitStatistics statistics;
  statistics.name = split.name;
  statistics.file = split.file;
  statistics.dialogues = std::ssize(split.dialogues);
  statistics.label_counts.resize(labels.size());
  std::set<std::string> speakers;
  std::vector<std::int64_t> words, turns;
  for (const Dialogue& dialogue : split.dialogues) {
    std::set<std::string> present;
    turns.push_back(std::ssize(dialogue.utterances));
    for (const Utterance& utterance : dialogue.utterances) {
      ++statistics.utterances;
      for (const SideText& side : utterance.side) ++statistics.with_side_text[side.name];
      const auto label = std::find(labels.begin(), labels.end(), utterance.label);
      ++(label == labels.end() ? statistics.without_label
                               : statistics.label_counts[static_cast<std::size_t>(label - labels.begin())]);
      present.insert(utterance.speaker);
      words.push_back(count_words(utterance.text));
    }
    statistics.most_speakers = std::max(statistics.most_speakers, std::int64_t{std::ssize(present)});
    speakers.merge(present);
  }
  statistics.speakers = std::ssize(speakers);
  statistics.words = statistics_of(std::move(words));
  statistics.turns = statistics_of(std::move(turns));
  return statistics;
}

}  // namespace

LengthStatistics statistics_of(std::vector<std::int64_t> lengths) {
  if (lengths.empty()) return {};
  std::sort(lengths.begin(), lengths.end());
  const double sum = std::accumulate(lengths.begin(), lengths.end(), 0.0);
  const std::size_t rank = (lengths.size() * 95 + 99) / 100;  // from 1, rounded up
  return {sum / static_cast<double>(lengths.size()), lengths[rank - 1], lengths.back()};
}

CorpusStatistics statistics_of(const Corpus& corpus, const std::vector<SplitLedger>& ledgers) {
  require(ledgers.size() == corpus.splits.size(), ledgers.size(), " ledgers of ", corpus.splits.size(),
          " splits");
  CorpusStatistics statistics{corpus.name, corpus.labels, {}};
  for (std::size_t i = 0; i < ledgers.size(); ++i) {
    statistics.splits.push_back(split_statistics(corpus.splits[i], corpus.labels));
    statistics.splits.back().skipped_rows = ledgers[i].skipped_rows;
  }
  return statistics;
}

std::string CorpusStatistics::to_table() const {
  ColumnTable<SplitStatistics> table(splits);
  const auto lengths = [&](const std::string& name, LengthStatistics SplitStatistics::*member) {
    table.row(name + ", mean",
              [=](const SplitStatistics& split) { return fmt::format("{:.1f}", (split.*member).mean); });
    table.row("  95 % have at most",
              [=](const SplitStatistics& split) { return grouped((split.*member).p95); });
    table.row("  longest", [=](const SplitStatistics& split) { return grouped((split.*member).longest); });
  };
  table.row(corpus, [](const SplitStatistics& split) { return split.name; });
  table.number("dialogues", &SplitStatistics::dialogues);
  table.number("utterances", &SplitStatistics::utterances);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    table.row("  " + labels[i], [=](const SplitStatistics& split) {
      const std::int64_t count = split.label_counts[i];
      return fmt::format("{}  {:>7}", grouped(count), percent(count, split.utterances - split.without_label));
    });
  }
  table.number_if_any("  without label", &SplitStatistics::without_label);
  table.counts("  with side text", &SplitStatistics::with_side_text);
  table.number("speakers", &SplitStatistics::speakers);
  table.number("  most in a dialogue", &SplitStatistics::most_speakers);
  lengths("turns of a dialogue", &SplitStatistics::turns);
  lengths("words of an utterance", &SplitStatistics::words);
  table.counts("skipped", &SplitStatistics::skipped_rows);
  return table.text();
}

}  // namespace chorus
