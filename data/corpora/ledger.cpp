#include "data/corpora/ledger.h"

#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "data/text/table.h"

namespace chorus {

namespace {

using Counts = std::map<std::string, std::int64_t>;

std::int64_t total(const Counts& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0},
                         [](std::int64_t sum, const auto& entry) { return sum + entry.second; });
}

}  // namespace

double SplitLedger::sharing() const {
  return tokens == 0 ? 1.0 : static_cast<double>(unshared_tokens) / static_cast<double>(tokens);
}
void SplitLedger::add_reading(const SplitLedger& other) {
  rows_read += other.rows_read;
  dialogues += other.dialogues;
  utterances += other.utterances;
  normalised_characters += other.normalised_characters;
  for (const auto& [reason, count] : other.skipped_rows) skipped_rows[reason] += count;
  for (const auto& [what, count] : other.notes) notes[what] += count;
}

std::int64_t SplitLedger::skipped() const { return total(skipped_rows); }
std::int64_t SplitLedger::dropped_total() const { return total(dropped); }

std::string Ledger::to_json() const {
  nlohmann::ordered_json json{
      {"corpus", corpus}, {"recipe", recipe}, {"splits", nlohmann::ordered_json::object()}};
  for (const SplitLedger& split : splits) {
    json["splits"][split.split] = {{"rows_read", split.rows_read},
                                   {"skipped_rows", split.skipped_rows},
                                   {"normalised_characters", split.normalised_characters},
                                   {"dialogues", split.dialogues},
                                   {"utterances", split.utterances},
                                   {"dropped", split.dropped},
                                   {"samples", split.samples},
                                   {"shortened_samples", split.shortened_samples},
                                   {"lines_cut", split.lines_cut},
                                   {"longest_sample", split.longest_sample},
                                   {"trees", split.trees},
                                   {"tokens", split.tokens},
                                   {"unshared_tokens", split.unshared_tokens},
                                   {"sharing", split.sharing()},
                                   {"supervised_tokens", split.supervised_tokens},
                                   {"notes", split.notes}};
  }
  json["notes"] = notes;
  json["remarks"] = remarks;
  return json.dump(2) + "\n";
}

std::string Ledger::to_table() const {
  ColumnTable<SplitLedger> table(splits);
  table.row("", [](const SplitLedger& split) { return split.split; });
  table.number("rows read", &SplitLedger::rows_read);
  table.counts("  skipped", &SplitLedger::skipped_rows);
  table.number("characters normalised", &SplitLedger::normalised_characters);
  table.number("dialogues", &SplitLedger::dialogues);
  table.number("utterances kept", &SplitLedger::utterances);
  table.counts("  DROPPED", &SplitLedger::dropped);
  table.number("samples", &SplitLedger::samples);
  table.number("  shortened", &SplitLedger::shortened_samples);
  table.number("  lines cut", &SplitLedger::lines_cut);
  table.number("  longest (tokens)", &SplitLedger::longest_sample);
  table.number("trees", &SplitLedger::trees);
  table.number("tokens", &SplitLedger::tokens);
  table.number("  as separate prompts", &SplitLedger::unshared_tokens);
  table.row("  saved by sharing",
            [](const SplitLedger& split) { return fmt::format("{:.2f}x", split.sharing()); });
  table.number("supervised tokens", &SplitLedger::supervised_tokens);
  table.counts("note", &SplitLedger::notes);
  std::string text = table.text();
  for (const auto& [what, count] : notes) text += fmt::format("note: {}: {}\n", what, grouped(count));
  for (const std::string& remark : remarks) text += remark + "\n";
  return text;
}

}  // namespace chorus
