#include "data/text/csv.h"

#include "tests/data/scratch.h"

namespace chorus {
namespace {

std::vector<CsvRow> rows_of(CsvReader& csv) {
  std::vector<CsvRow> rows;
  for (CsvRow row; csv.next(row);) rows.push_back(row);
  return rows;
}

// The message of the first bad row of a file with columns a and b.
std::string message_for(const std::string& body) {
  const TemporaryFolder folder;
  const std::string path = folder.write("x.csv", "a,b\n" + body);
  return message_of<RowError>([&] {
    CsvReader csv(path);
    rows_of(csv);
  });
}

TEST(Csv, ReadsQuotesCommasLineBreaksAndBothLineEnds) {
  const TemporaryFolder folder;
  const std::string path =
      folder.write("x.csv",
                   "\xEF\xBB\xBF"
                   "a,\"b\"\r\n1,\"two, \"\"2\"\"\"\r\n\"line\r\nbreak\",\nlast,one\n\n\r\n");
  CsvReader csv(path);
  EXPECT_EQ(csv.columns(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(csv.column("b"), 1U);
  const std::vector<CsvRow> rows = rows_of(csv);
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].fields, (std::vector<std::string>{"1", "two, \"2\""}));
  EXPECT_EQ(rows[1].fields, (std::vector<std::string>{"line\r\nbreak", ""}));
  EXPECT_EQ(rows[2].fields, (std::vector<std::string>{"last", "one"}));
  EXPECT_EQ(rows[0].line, 2);
  EXPECT_EQ(rows[1].line, 3);
  EXPECT_EQ(rows[2].line, 5);
}

TEST(Csv, LastRowNeedsNoLineEnd) {
  const TemporaryFolder folder;
  CsvReader csv(folder.write("x.csv", "a,b\n1,2"));
  const std::vector<CsvRow> rows = rows_of(csv);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].fields, (std::vector<std::string>{"1", "2"}));
}

TEST(Csv, NamesFileAndLineOfEveryDefect) {
  expect_contains(message_for("1,2\n1,2,3\n"), "x.csv:3: wrong number of columns: 3 fields instead of 2");
  expect_contains(message_for("1\n"), "x.csv:2: wrong number of columns: 1 fields instead of 2");
  expect_contains(message_for("1,2\n\n1,2\n"), "x.csv:3: wrong number of columns");
  expect_contains(message_for("1,\"open\n1,2\n"),
                  "x.csv:2: unbalanced quote: a quote is opened and never closed");
  expect_contains(message_for("1,2\n\"a\"b,2\n"), "x.csv:3: unbalanced quote: a closing quote");
  expect_contains(message_for("1,a\"b\n"), "x.csv:2: unbalanced quote: a quote inside");
  expect_contains(message_for("1,2\r3,4\n"), "x.csv:2: stray carriage return");
  expect_contains(message_for("1,2\n1,ca\x92t\n"),
                  "x.csv:3: invalid UTF-8: at byte 5 of the line, byte 0x92");
  expect_contains(message_for("\"one\nt\xFFwo\",2\n"),
                  "x.csv:3: invalid UTF-8: at byte 2 of the line, byte 0xFF");
}

TEST(Csv, GoesOnBehindABadRow) {
  const TemporaryFolder folder;
  CsvReader csv(folder.write("x.csv", "a,b\n1,\"open\n2,good\n3\n4,\xFF\n5,good\n"));
  CsvRow row;
  EXPECT_THROW(csv.next(row), RowError);
  ASSERT_TRUE(csv.next(row));
  EXPECT_EQ(row.fields[0], "2");
  EXPECT_EQ(row.line, 3);
  EXPECT_THROW(csv.next(row), RowError);
  EXPECT_THROW(csv.next(row), RowError);
  ASSERT_TRUE(csv.next(row));
  EXPECT_EQ(row.fields[0], "5");
  EXPECT_EQ(row.line, 6);
  EXPECT_FALSE(csv.next(row));
}

TEST(Csv, RefusesAHeaderThatNamesNoColumns) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& bytes) {
    const std::string path = folder.write("h.csv", bytes);
    return message_of<DataError>([&] { CsvReader csv(path); });
  };
  expect_contains(message(""), "h.csv: is empty");
  expect_contains(message("\xEF\xBB\xBF\r\n"), "h.csv: is empty");
  expect_contains(message("a,b,a\n"), "two columns are named 'a'");
  expect_contains(message("a,\"b\n"), "unbalanced quote");
  expect_contains(message_of<DataError>([&] { CsvReader csv(folder / "none.csv"); }), "no such file");
  const CsvReader csv(folder.write("good.csv", "a,b\n"));
  expect_contains(message_of<DataError>([&] { csv.column("Emotion"); }),
                  "good.csv:1: there is no column 'Emotion', only a, b");
}

TEST(Csv, WritesWhatItReads) {
  const std::vector<std::string> fields{"plain", "a,b", "say \"hi\"", "two\nlines", "", " space "};
  std::string text = "1,2,3,4,5,6\r\n";
  append_csv_row(text, fields);
  EXPECT_EQ(text.substr(13), "plain,\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",, space \r\n");
  const TemporaryFolder folder;
  CsvReader csv(folder.write("x.csv", text));
  CsvRow row;
  ASSERT_TRUE(csv.next(row));
  EXPECT_EQ(row.fields, fields);
}

TEST(Csv, PassesOverColumnsWithoutAName) {
  const TemporaryFolder folder;
  CsvReader csv(folder.write("pandas.csv", ",a,\n0,x,1\n"));
  EXPECT_EQ(csv.column("a"), 1U);
  CsvRow row;
  ASSERT_TRUE(csv.next(row));
  EXPECT_EQ(row.fields, (std::vector<std::string>{"0", "x", "1"}));
}

TEST(Csv, RefusesAZeroByteAndOtherEncodings) {
  const TemporaryFolder folder;
  CsvReader csv(folder.write("zero.csv", std::string("a\nx\0y\n", 6)));
  CsvRow row;
  expect_contains(message_of<DataError>([&] { csv.next(row); }),
                  "zero.csv:2: invalid UTF-8: at byte 2 of the line, a zero");
  const std::string wide = folder.write("wide.csv", std::string("\xFF\xFE,\0a\0", 6));
  expect_contains(message_of<DataError>([&] { CsvReader{wide}; }), "wide.csv: is in UTF-16");
}

}  // namespace
}  // namespace chorus
