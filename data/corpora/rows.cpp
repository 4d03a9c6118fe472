#include "data/corpora/rows.h"

#include <algorithm>
#include <charconv>

#include "data/corpora/normalise.h"
#include "data/text/text.h"
#include "data/text/text_file.h"

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

void finish_split(CorpusSplit& split, SplitLedger& ledger) {
  ledger.dialogues = std::ssize(split.dialogues);
  ledger.utterances = 0;
  split.has_labels = false;
  std::int64_t misread = 0;
  for (Dialogue& dialogue : split.dialogues) {
    ledger.utterances += std::ssize(dialogue.utterances);
    for (Utterance& utterance : dialogue.utterances) {
      split.has_labels = split.has_labels || !utterance.label.empty();
      misread += looks_misread(utterance.text) ? 1 : 0;
      ledger.normalised_characters += normalise(utterance);
    }
  }
  if (misread > 0)
    ledger.notes["utterances that look like UTF-8 read as Windows-1252, as in canâ€™t"] = misread;
  require<DataError>(ledger.utterances > 0, split.file, ": has no utterances",
                     ledger.skipped() > 0 ? ": every row is malformed" : "");
}

NewSplit add_split(Corpus& corpus, std::vector<SplitLedger>& ledgers, const std::string& name,
                   const std::filesystem::path& file) {
  ledgers.emplace_back().split = name;
  return {corpus.splits.emplace_back(CorpusSplit{name, file.string(), {}}), ledgers.back()};
}

void require_utf8(std::string_view line, const RowPlace& place) {
  if (const auto offset = invalid_utf8(line)) {
    require_row(false, place, "invalid UTF-8",
                fmt::format("at byte {} of the line, {}", *offset + 1, describe_invalid_byte(line, *offset)));
  }
}

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  const std::string text = read_unchecked_text(path);
  require<DataError>(!text.empty(), path.string(), ": is empty");
  return split_lines(text);
}

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<std::int64_t> parse_table_number(std::string_view text) {
  const std::size_t point = text.find('.');
  const bool whole =
      point == std::string_view::npos ||
      (point + 1 < text.size() && text.find_first_not_of('0', point + 1) == std::string_view::npos);
  return whole ? parse_number(text.substr(0, point)) : std::nullopt;
}

}  // namespace chorus
