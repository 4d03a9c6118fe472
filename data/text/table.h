#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace chorus {

struct TableRow {
  std::string name;
  std::vector<std::string> cells;  // as many as the other rows have
};

// The rows for people: names to the left, the cells of a column to the right; every line ends with a line
// break.
std::string aligned(std::span<const TableRow> rows);

// 1234567 as "1,234,567".
std::string grouped(std::int64_t number);

// "12.3 %" of the whole; "-" of nothing.
std::string percent(std::int64_t part, std::int64_t whole);

// Rows about several items, each of which is a column. The items must outlive it.
template <typename Item>
class ColumnTable {
 public:
  using Cell = std::function<std::string(const Item&)>;

  explicit ColumnTable(const std::vector<Item>& items) : items_(items) {}

  void row(std::string name, const Cell& cell) {
    rows_.push_back({std::move(name), {}});
    for (const Item& item : items_) rows_.back().cells.push_back(cell(item));
  }
  void number(std::string name, std::int64_t Item::*member) {
    row(std::move(name), [=](const Item& item) { return grouped(item.*member); });
  }
  // Only where it is not 0 in every column.
  void number_if_any(std::string name, std::int64_t Item::*member) {
    bool any = false;
    for (const Item& item : items_) any = any || item.*member != 0;
    if (any) number(std::move(name), member);
  }
  // A row for each key that any item has.
  void counts(const std::string& name, std::map<std::string, std::int64_t> Item::*member) {
    std::set<std::string> keys;
    for (const Item& item : items_) {
      for (const auto& [key, count] : item.*member) keys.insert(key);
    }
    for (const std::string& key : keys) {
      row(name + ": " + key, [&](const Item& item) {
        const auto found = (item.*member).find(key);
        return grouped(found == (item.*member).end() ? 0 : found->second);
      });
    }
  }

  std::string text() const { return aligned(rows_); }

 private:
  const std::vector<Item>& items_;
  std::vector<TableRow> rows_;
};

}  // namespace chorus
