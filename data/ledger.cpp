#include "data/ledger.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <numeric>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace chorus {

namespace {

using Counts = std::map<std::string, std::int64_t>;

std::int64_t total(const Counts& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0},
                         [](std::int64_t sum, const auto& entry) { return sum + entry.second; });
}

// 1234567 as "1,234,567".
std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t end = digits.size(); end > 3; end -= 3) digits.insert(end - 3, 1, ',');
  return digits;
}

struct TableRow {
  std::string name;
  std::vector<std::string> cells;
};

std::set<std::string> reasons(const std::vector<SplitLedger>& splits, Counts SplitLedger::*counts) {
  std::set<std::string> names;
  for (const SplitLedger& split : splits) {
    for (const auto& [reason, count] : split.*counts) names.insert(reason);
  }
  return names;
}

std::vector<TableRow> table_rows(const std::vector<SplitLedger>& splits) {
  std::vector<TableRow> rows;
  const auto row = [&](std::string name, const std::function<std::string(const SplitLedger&)>& cell) {
    rows.push_back({std::move(name), {}});
    for (const SplitLedger& split : splits) rows.back().cells.push_back(cell(split));
  };
  const auto number = [&](std::string name, std::int64_t SplitLedger::*member) {
    row(std::move(name), [=](const SplitLedger& split) { return grouped(split.*member); });
  };
  const auto by_reason = [&](const std::string& name, Counts SplitLedger::*counts) {
    for (const std::string& reason : reasons(splits, counts)) {
      row(name + ": " + reason, [&](const SplitLedger& split) {
        const auto found = (split.*counts).find(reason);
        return grouped(found == (split.*counts).end() ? 0 : found->second);
      });
    }
  };
  row("", [](const SplitLedger& split) { return split.split; });
  number("rows read", &SplitLedger::rows_read);
  by_reason("  skipped", &SplitLedger::skipped_rows);
  number("characters normalised", &SplitLedger::normalised_characters);
  number("dialogues", &SplitLedger::dialogues);
  number("utterances kept", &SplitLedger::utterances);
  by_reason("  DROPPED", &SplitLedger::dropped);
  number("samples", &SplitLedger::samples);
  number("  shortened", &SplitLedger::shortened_samples);
  number("  history lines cut", &SplitLedger::lines_cut);
  number("  longest (tokens)", &SplitLedger::longest_sample);
  number("trees", &SplitLedger::trees);
  number("tokens", &SplitLedger::tokens);
  number("  as separate prompts", &SplitLedger::unshared_tokens);
  row("  saved by sharing", [](const SplitLedger& split) { return fmt::format("{:.2f}x", split.sharing()); });
  number("supervised tokens", &SplitLedger::supervised_tokens);
  return rows;
}

}  // namespace

double SplitLedger::sharing() const {
  return tokens == 0 ? 1.0 : static_cast<double>(unshared_tokens) / static_cast<double>(tokens);
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
                                   {"supervised_tokens", split.supervised_tokens}};
  }
  return json.dump(2) + "\n";
}

std::string Ledger::to_table() const {
  const std::vector<TableRow> rows = table_rows(splits);
  std::size_t name_width = 0;
  std::vector<std::size_t> widths(splits.size(), 0);
  for (const TableRow& row : rows) {
    name_width = std::max(name_width, row.name.size());
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], row.cells[i].size());
  }
  std::string table;
  for (const TableRow& row : rows) {
    fmt::format_to(std::back_inserter(table), "{:<{}}", row.name, name_width);
    for (std::size_t i = 0; i < widths.size(); ++i) {
      fmt::format_to(std::back_inserter(table), "  {:>{}}", row.cells[i], widths[i]);
    }
    table += '\n';
  }
  return table;
}

}  // namespace chorus
