#include "data/corpora/ledger.h"

#include <nlohmann/json.hpp>

#include "tests/data/scratch.h"

namespace chorus {
namespace {

Ledger some_ledger() {
  Ledger ledger{"meld", "shared", {}};
  SplitLedger train;
  train.split = "train";
  train.rows_read = 1234567;
  train.skipped_rows = {{"unknown emotion", 3}, {"bad time", 1}};
  train.utterances = 10;
  train.tokens = 200;
  train.unshared_tokens = 500;
  SplitLedger dev;
  dev.split = "dev";
  dev.dropped = {{"more than 5 tokens without history", 2}};
  ledger.splits = {train, dev};
  return ledger;
}

TEST(Ledger, JsonHoldsEveryNumber) {
  const auto json = nlohmann::json::parse(some_ledger().to_json());
  EXPECT_EQ(json["corpus"], "meld");
  EXPECT_EQ(json["recipe"], "shared");
  EXPECT_EQ(json["splits"]["train"]["rows_read"], 1234567);
  EXPECT_EQ(json["splits"]["train"]["skipped_rows"]["unknown emotion"], 3);
  EXPECT_EQ(json["splits"]["train"]["sharing"], 2.5);
  EXPECT_EQ(json["splits"]["dev"]["dropped"]["more than 5 tokens without history"], 2);
  EXPECT_EQ(json["splits"]["dev"]["sharing"], 1.0);
  EXPECT_EQ(json["splits"]["train"].size(), 16U);
}

TEST(Ledger, TableHasAColumnPerSplitOfEqualWidth) {
  const std::string table = some_ledger().to_table();
  expect_contains(table, "1,234,567");
  expect_contains(table, "  skipped: bad time");
  expect_contains(table, "  DROPPED: more than 5 tokens without history");
  expect_contains(table, "2.50x");
  std::size_t width = 0;
  for (std::size_t begin = 0; begin < table.size();) {
    const std::size_t end = table.find('\n', begin);
    if (width == 0) width = end - begin;
    EXPECT_EQ(end - begin, width) << table.substr(begin, end - begin);
    begin = end + 1;
  }
}

TEST(Ledger, Totals) {
  const Ledger ledger = some_ledger();
  EXPECT_EQ(ledger.splits[0].skipped(), 4);
  EXPECT_EQ(ledger.splits[1].dropped_total(), 2);
}

}  // namespace
}  // namespace chorus
