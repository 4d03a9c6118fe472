#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/text/row_error.h"

namespace chorus {

struct CsvRow {
  std::int64_t line = 0;  // where the row begins, from 1
  std::vector<std::string> fields;
};

// Reads RFC 4180: comma separated, fields in quotes where needed, "" for a quote, line breaks allowed in
// quotes, rows end with LF or CR LF, the first row names the columns. Every row must be UTF-8 and have as
// many fields as there are columns. A byte order mark, empty lines at the end, and columns without a name, which
// nobody can ask for, are tolerated; nothing else is.
class CsvReader {
 public:
  // Throws DataError for a file that is missing, empty, or whose first row is malformed or names a column
  // twice.
  explicit CsvReader(const std::filesystem::path& path);

  const std::vector<std::string>& columns() const { return columns_; }
  // Index of the column of that name. Throws DataError listing those there are.
  std::size_t column(std::string_view name) const;
  bool has_column(std::string_view name) const;

  // Reads the next row. Returns false at the end. Throws RowError; the call after that goes on behind the bad
  // row, or on the next line where a quote does not end.
  bool next(CsvRow& row);

 private:
  void read_fields(CsvRow& row);
  void read_quoted(std::string& field);
  void read_plain(std::string& field);
  bool at_end_of_row() const;
  void skip_end_of_row();
  void skip_line();
  void check_utf8(std::size_t begin, std::int64_t line) const;
  [[noreturn]] void fail(std::int64_t line, const std::string& reason, const std::string& details) const;

  std::string path_, text_;
  std::size_t position_ = 0;
  std::int64_t line_ = 1;
  std::vector<std::string> columns_;
};

// Appends a row that ends with CR LF; fields are quoted where RFC 4180 asks for it.
void append_csv_row(std::string& out, std::span<const std::string> fields);

}  // namespace chorus
