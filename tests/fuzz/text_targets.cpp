// Text, tables and JSON, whatever they say.

#include <nlohmann/json.hpp>

#include "data/text/csv.h"
#include "data/text/json.h"
#include "data/text/process_record.h"
#include "data/text/row_error.h"
#include "data/text/text.h"
#include "data/text/text_file.h"
#include "data/text/utf8.h"
#include "ops/base/error.h"
#include "tests/fuzz/target.h"

namespace chorus::fuzz {
namespace {

void read_text(const std::string& input) {
  const std::string mended = replace_ill_formed(input);
  for (std::string_view rest = mended; !rest.empty(); rest.remove_prefix(character_length(rest[0])))
    first_character(rest);
  if (!mended.empty()) last_character(mended);
  character_count(input);
  words_of(input);
  parse_real(input);
  const auto path = file("text", input);
  unless_refused([&] { filled_lines(read_unchecked_text(path)); });
  unless_refused([&] { fill_in(input, {{"name", "value"}}, "text"); });
  const std::string text = read_text_file(path);
  require(!invalid_utf8(text) && replace_ill_formed(text) == text, "text that is no UTF-8 was accepted");
}

void read_csv(const std::string& input) {
  CsvReader reader(file("table.csv", input));
  std::string written;
  CsvRow row;
  for (bool more = true; more;) {
    unless_refused([&] {
      more = reader.next(row);
      if (more) append_csv_row(written, row.fields);
    });
  }
}

void read_json(const std::string& input) {
  const std::filesystem::path lines = file("lines.jsonl", input);
  unless_refused([&] { for_each_json_line(lines, [](const auto&, const std::string&) {}); });
  unless_refused([&] { for_each_log_line(lines, [](const auto&, const std::string&) {}); });
  const nlohmann::json json = parse_json(input, "json");
  ProcessRecord::from_json(json).description();
  parse_names(json, "json");
}

}  // namespace

std::vector<Target> text_targets() {
  return {
      {"text",
       [] {
         return std::vector<std::string>{
             "\xEF\xBB\xBFRoss: caf\xC3\xA9 {name}\r\n\n\xF0\x9F\x98\x80 {{1.5e3}}\n",
             std::string("\xFF\xFEH\0i\0", 6), "version https://git-lfs.github.com/spec/v1\n"};
       },
       read_text},
      {"csv",
       [] {
         return std::vector<std::string>{
             "\xEF\xBB\xBF"
             "a,b,\r\n1,\"x \"\"y\"\"\r\nz\",\r\n2,,\r\n\r\n",
             "a,b\n1\n\"2\n3,4\n"};
       },
       read_csv},
      {"json",
       [] {
         return std::vector<std::string>{"[\"joy\", \"\\u00e9\\ud83d\\ude00\"]",
                                         "{\"host\":\"a\",\"process\":7,\"start\":5}\n[1]\n"};
       },
       read_json},
  };
}

}  // namespace chorus::fuzz
