#include "data/text/csv.h"

#include <algorithm>

#include "data/text/text.h"
#include "data/text/text_file.h"

namespace chorus {

CsvReader::CsvReader(const std::filesystem::path& path)
    : path_(path.string()), text_(read_unchecked_text(path)) {
  const bool blank = text_.find_first_not_of("\r\n") == std::string::npos;
  require<DataError>(!blank, path_, ": is empty; the first line must name the columns");
  CsvRow header;
  read_fields(header);
  columns_ = std::move(header.fields);
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const bool twice = !columns_[i].empty() && std::count(columns_.begin(), columns_.end(), columns_[i]) > 1;
    require<DataError>(!twice, path_, ":1: two columns are named '", columns_[i], "'");
  }
}

bool CsvReader::has_column(std::string_view name) const {
  return std::find(columns_.begin(), columns_.end(), name) != columns_.end();
}

std::size_t CsvReader::column(std::string_view name) const {
  require<DataError>(has_column(name), path_, ":1: there is no column '", name, "', only ",
                     joined(columns_, ", "));
  return static_cast<std::size_t>(std::find(columns_.begin(), columns_.end(), name) - columns_.begin());
}

bool CsvReader::next(CsvRow& row) {
  if (text_.find_first_not_of("\r\n", position_) == std::string::npos) return false;
  read_fields(row);
  if (row.fields.size() != columns_.size()) {
    fail(row.line, "wrong number of columns",
         fmt::format("{} fields instead of {}; a comma outside quotes?", row.fields.size(), columns_.size()));
  }
  return true;
}

void CsvReader::read_fields(CsvRow& row) {
  const std::size_t begin = position_;
  row.line = line_;
  row.fields.clear();
  try {
    while (true) {
      std::string& field = row.fields.emplace_back();
      if (position_ < text_.size() && text_[position_] == '"') {
        read_quoted(field);
      } else {
        read_plain(field);
      }
      if (at_end_of_row()) break;
      if (text_[position_] != ',')
        fail(row.line, "unbalanced quote", "a closing quote must be followed by a comma");
      ++position_;
    }
  } catch (const RowError&) {
    position_ = begin;
    line_ = row.line;
    skip_line();
    throw;
  }
  skip_end_of_row();
  check_utf8(begin, row.line);
}

void CsvReader::read_quoted(std::string& field) {
  const std::int64_t opened = line_;
  ++position_;
  while (position_ < text_.size()) {
    const char c = text_[position_++];
    if (c == '"') {
      if (position_ == text_.size() || text_[position_] != '"') return;
      ++position_;
    }
    if (c == '\n') ++line_;
    field += c;
  }
  fail(opened, "unbalanced quote", "a quote is opened and never closed");
}

void CsvReader::read_plain(std::string& field) {
  while (!at_end_of_row() && text_[position_] != ',') {
    const char c = text_[position_++];
    if (c == '"') fail(line_, "unbalanced quote", "a quote inside a field that does not begin with one");
    if (c == '\r') fail(line_, "stray carriage return", "a carriage return without a line feed");
    field += c;
  }
}

bool CsvReader::at_end_of_row() const {
  return position_ == text_.size() || text_[position_] == '\n' || text_.compare(position_, 2, "\r\n") == 0;
}

void CsvReader::skip_end_of_row() {
  if (position_ == text_.size()) return;
  position_ += text_[position_] == '\r' ? 2 : 1;
  ++line_;
}

void CsvReader::skip_line() {
  const std::size_t end = text_.find('\n', position_);
  position_ = end == std::string::npos ? text_.size() : end + 1;
  ++line_;
}

void CsvReader::check_utf8(std::size_t begin, std::int64_t line) const {
  const std::string_view row = std::string_view(text_).substr(begin, position_ - begin);
  const auto offset = invalid_utf8(row);
  if (!offset) return;
  const std::string_view before = row.substr(0, *offset);
  const std::size_t newline = before.rfind('\n');
  const std::size_t byte = newline == std::string_view::npos ? *offset + 1 : *offset - newline;
  fail(line + std::count(before.begin(), before.end(), '\n'), "invalid UTF-8",
       fmt::format("at byte {} of the line, {}", byte, describe_invalid_byte(row, *offset)));
}

void CsvReader::fail(std::int64_t line, const std::string& reason, const std::string& details) const {
  throw RowError(fmt::format("{}:{}: {}: {}", path_, line, reason, details), reason);
}

void append_csv_row(std::string& out, std::span<const std::string> fields) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (i > 0) out += ',';
    if (fields[i].find_first_of(",\"\r\n") == std::string::npos) {
      out += fields[i];
      continue;
    }
    out += '"';
    for (const char c : fields[i]) out += c == '"' ? std::string("\"\"") : std::string(1, c);
    out += '"';
  }
  out += "\r\n";
}

}  // namespace chorus
