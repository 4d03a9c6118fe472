#include "data/text/table.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "data/text/text.h"

namespace chorus {

std::string aligned(std::span<const TableRow> rows) {
  std::size_t name_width = 0;
  std::vector<std::size_t> widths(rows.empty() ? 0 : rows[0].cells.size(), 0);
  for (const TableRow& row : rows) {
    name_width = std::max(name_width, character_count(row.name));
    for (std::size_t i = 0; i < widths.size(); ++i)
      widths[i] = std::max(widths[i], character_count(row.cells[i]));
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

std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t end = digits.size(); end > 3; end -= 3) digits.insert(end - 3, 1, ',');
  return digits;
}

std::string percent(std::int64_t part, std::int64_t whole) {
  if (whole == 0) return "-";
  return fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

}  // namespace chorus
