#include "data/sets/dataset_statistics.h"

#include <algorithm>

#include <fmt/format.h>

#include "data/text/table.h"
#include "data/text/text.h"

namespace chorus {

namespace {

std::vector<std::string> labels_of(const std::vector<DatasetStatistics>& datasets) {
  std::vector<std::string> labels;
  for (const DatasetStatistics& dataset : datasets) {
    for (const std::string& label : dataset.origin.labels) {
      if (std::find(labels.begin(), labels.end(), label) == labels.end()) labels.push_back(label);
    }
  }
  return labels;
}

std::string label_cell(const DatasetStatistics& dataset, const std::string& label) {
  const auto& labels = dataset.origin.labels;
  const auto found = std::find(labels.begin(), labels.end(), label);
  if (found == labels.end()) return "-";
  const std::int64_t count = dataset.label_counts[static_cast<std::size_t>(found - labels.begin())];
  return fmt::format("{}  {:>7}", grouped(count), percent(count, dataset.utterances - dataset.without_label));
}

std::string or_none(const std::string& text) { return text.empty() ? "-" : text; }

}  // namespace

double DatasetStatistics::sharing() const {
  return tokens == 0 ? 1.0 : static_cast<double>(unshared_tokens) / static_cast<double>(tokens);
}

DatasetStatistics statistics_of(const Dataset& dataset) {
  DatasetStatistics statistics;
  statistics.origin = dataset.origin;
  statistics.utterances = std::ssize(dataset.utterances);
  statistics.label_counts.resize(dataset.origin.labels.size());
  for (const UtteranceReference& utterance : dataset.utterances) {
    ++(utterance.label < 0 ? statistics.without_label
                           : statistics.label_counts[static_cast<std::size_t>(utterance.label)]);
    const auto& corpora = dataset.origin.corpora;
    if (corpora.size() > 1) ++statistics.of_corpus[corpora[static_cast<std::size_t>(utterance.corpus)]];
  }
  statistics.trees = dataset.trees();
  statistics.samples = std::ssize(dataset.samples);
  statistics.tokens = std::ssize(dataset.tokens);
  statistics.unshared_tokens = dataset.unshared_tokens();
  statistics.supervised_tokens = std::ssize(dataset.targets);
  for (const Sample& sample : dataset.samples) {
    statistics.about_no_utterance += sample.utterance < 0 ? 1 : 0;
    statistics.weighted += sample.weight == 1 ? 0 : 1;
  }
  statistics.feature_rows = dataset.features.rows();
  statistics.feature_width = dataset.features.width;
  std::vector<std::int64_t> lengths;
  for (std::int64_t sample = 0; sample < statistics.samples; ++sample)
    lengths.push_back(dataset.length(sample));
  statistics.sample_tokens = statistics_of(std::move(lengths));
  return statistics;
}

std::string to_table(const std::vector<DatasetStatistics>& datasets) {
  ColumnTable<DatasetStatistics> table(datasets);
  table.row("", [](const DatasetStatistics& dataset) { return dataset.origin.split; });
  table.row("corpus", [](const DatasetStatistics& dataset) { return joined(dataset.origin.corpora, " + "); });
  table.row("recipe", [](const DatasetStatistics& dataset) { return or_none(dataset.origin.recipe_name); });
  table.row("tokenizer", [](const DatasetStatistics& dataset) {
    return dataset.origin.tokenizer_hash == 0 ? "-" : fmt::format("{:016x}", dataset.origin.tokenizer_hash);
  });
  table.row("vocabulary",
            [](const DatasetStatistics& dataset) { return grouped(dataset.origin.vocabulary_size); });
  table.number("utterances", &DatasetStatistics::utterances);
  table.counts("  of corpus", &DatasetStatistics::of_corpus);
  for (const std::string& label : labels_of(datasets)) {
    table.row("  " + label, [&](const DatasetStatistics& dataset) { return label_cell(dataset, label); });
  }
  table.number_if_any("  without label", &DatasetStatistics::without_label);
  table.number("samples", &DatasetStatistics::samples);
  table.number_if_any("  about no utterance", &DatasetStatistics::about_no_utterance);
  table.number_if_any("  of a weight other than 1", &DatasetStatistics::weighted);
  table.row("  tokens, mean", [](const DatasetStatistics& dataset) {
    return fmt::format("{:.1f}", dataset.sample_tokens.mean);
  });
  table.row("    95 % have at most",
            [](const DatasetStatistics& dataset) { return grouped(dataset.sample_tokens.p95); });
  table.row("    longest",
            [](const DatasetStatistics& dataset) { return grouped(dataset.sample_tokens.longest); });
  table.number("trees", &DatasetStatistics::trees);
  table.number("tokens", &DatasetStatistics::tokens);
  table.number("  as separate prompts", &DatasetStatistics::unshared_tokens);
  table.row("  saved by sharing",
            [](const DatasetStatistics& dataset) { return fmt::format("{:.2f}x", dataset.sharing()); });
  table.number("supervised tokens", &DatasetStatistics::supervised_tokens);
  table.number_if_any("features", &DatasetStatistics::feature_rows);
  table.number_if_any("  numbers in each", &DatasetStatistics::feature_width);
  return table.text();
}

}  // namespace chorus
