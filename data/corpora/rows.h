#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/corpora/dialogue.h"
#include "data/corpora/ledger.h"
#include "data/text/row_error.h"

// What the readers of corpora do alike with rows and their fields.
namespace chorus {

struct RowPlace {
  std::string file;
  std::int64_t line = 0;
};

// Throws RowError "file:line: reason: details" unless the condition holds.
void require_row(bool holds, const RowPlace& place, const std::string& reason, const std::string& details);

// RowError unless `label` is one of `known`; names the nearest.
void require_label(const std::string& label, const std::vector<std::string>& known, const RowPlace& place);

// Calls `next` until it returns false. A RowError that it throws ends the reading, or is counted under its
// reason where the options say so; `next` is then called again and must go on behind the bad row.
void read_rows(const CorpusOptions& options, SplitLedger& ledger, const std::function<bool()>& next);

// The end of reading a split: normalises texts, speakers and side texts (see normalise.h), counts dialogues and
// utterances, and texts that look misread. Throws DataError if there are none.
void finish_split(CorpusSplit& split, SplitLedger& ledger);

// A split that a reader is about to fill, and its ledger.
struct NewSplit {
  CorpusSplit& split;
  SplitLedger& ledger;
};
NewSplit add_split(Corpus& corpus, std::vector<SplitLedger>& ledgers, const std::string& name,
                   const std::filesystem::path& file);

// RowError unless the line is UTF-8.
void require_utf8(std::string_view line, const RowPlace& place);

// The lines of a file, without line breaks (LF or CR LF) and byte order mark. Throws DataError if it cannot be
// read or is empty.
std::vector<std::string> read_lines(const std::filesystem::path& path);

// Not negative; nothing but digits.
std::optional<std::int64_t> parse_number(std::string_view text);
// The same, perhaps with a fraction of zeros, as tables write the numbers of a column that once had gaps: "7.0".
std::optional<std::int64_t> parse_table_number(std::string_view text);

}  // namespace chorus
