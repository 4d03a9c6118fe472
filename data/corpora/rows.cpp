#include "data/corpora/rows.h"

#include <algorithm>
#include <charconv>

#include "data/text_file.h"
#include "data/words.h"

namespace chorus {

void require_row(bool holds, const RowPlace& place, const std::string& reason, const std::string& details) {
  if (!holds) throw RowError(fmt::format("{}:{}: {}: {}", place.file, place.line, reason, details), reason);
}

void require_label(const std::string& label, const std::vector<std::string>& known, const RowPlace& place) {
  const bool is_known = std::find(known.begin(), known.end(), label) != known.end();
  if (is_known) return;
  require_row(false, place, "unknown emotion",
              fmt::format("'{}' is none of {}; did you mean '{}'?", label, joined(known, ", "),
                          nearest(label, known)));
}

void read_rows(const CorpusOptions& options, SplitLedger& ledger, const std::function<bool()>& next) {
  for (bool more = true; more;) {
    try {
      more = next();
    } catch (const RowError& error) {
      if (!options.skip_bad_rows) throw;
      ++ledger.skipped_rows[error.reason];
    }
  }
}

void count_utterances(const CorpusSplit& split, SplitLedger& ledger) {
  ledger.dialogues = std::ssize(split.dialogues);
  ledger.utterances = 0;
  for (const Dialogue& dialogue : split.dialogues) ledger.utterances += std::ssize(dialogue.utterances);
  require<DataError>(ledger.utterances > 0, split.file, ": has no utterances",
                     ledger.skipped() > 0 ? ": every row is malformed" : "");
}

NewSplit add_split(Corpus& corpus, std::vector<SplitLedger>& ledgers, const std::string& name,
                   const std::filesystem::path& file) {
  ledgers.emplace_back().split = name;
  return {corpus.splits.emplace_back(CorpusSplit{name, file.string(), {}}), ledgers.back()};
}

void require_utf8(const std::string& line, const RowPlace& place) {
  if (const auto offset = invalid_utf8(line)) {
    require_row(false, place, "invalid UTF-8",
                fmt::format("at byte {} of the line, {}", *offset + 1, describe_invalid_byte(line, *offset)));
  }
}

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::string text = read_file(path);
  remove_byte_order_mark(text);
  require<DataError>(!text.empty(), path.string(), ": is empty");
  return split_lines(text);
}

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

bool is_time_of_day(std::string_view text) {
  std::size_t i = 0;
  const auto digits = [&](std::size_t least, std::size_t most) {
    const std::size_t begin = i;
    while (i < text.size() && i - begin < most && text[i] >= '0' && text[i] <= '9') ++i;
    return i - begin >= least;
  };
  const auto mark = [&](std::string_view any) {
    return i < text.size() && any.find(text[i]) != std::string_view::npos && ++i > 0;
  };
  if (!digits(1, 2) || !mark(":") || !digits(2, 2) || !mark(":") || !digits(2, 2)) return false;
  return i == text.size() || (mark(",.") && digits(1, 6) && i == text.size());
}

}  // namespace chorus
