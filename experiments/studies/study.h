#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace chorus {

// Options of a command as its command line has them, without the dashes. No value: the option is left out, also where
// a study's default gives it.
using CommandOptions = std::map<std::string, std::optional<std::string>>;

// `options` where it says something, `defaults` elsewhere.
CommandOptions overlaid(const CommandOptions& defaults, const CommandOptions& options);

// The words of a command line; quotes keep blanks together and stand for nothing themselves. Throws ConfigurationError
// that begins with `origin` for a quote that is not closed.
std::vector<std::string> split_words(std::string_view text, const std::string& origin);

// "--epochs 1 --recompute --lora-targets 'q,v'" as options; a switch that stands alone is on. Throws
// ConfigurationError that begins with `origin`.
CommandOptions parse_command_options(std::string_view text, const std::string& origin);

// A training before that of the row. It starts from the adapter of the stage before it, and leaves its own to the next.
// The study's options of `train` are its defaults; of `prepare` it has only its own, as it is another task.
struct StudyStage {
  CommandOptions prepare, train;
};

// Whole numbers. Throws ConfigurationError.
std::vector<std::uint64_t> parse_seeds(const std::vector<std::string>& texts);

struct StudyRow {
  std::string name;   // also of folders
  std::string title;  // as the table shows it
  CommandOptions prepare, train, evaluate;
  std::vector<StudyStage> stages;
  bool trained = true;  // false: the base answers as it is
  bool mixed = false;   // one data set of all corpora, scored for each
  std::map<std::string, std::map<std::string, double>> published;  // base, corpus: weighted F1 in percent
};

// One table of a paper: what is trained, with which options, and what the paper reports. docs/formats.md says how the
// file looks.
struct Study {
  std::string name, title;
  std::string source;  // paper and table
  std::string notes;   // in what ours is another thing
  std::vector<std::string> corpora;
  std::vector<std::uint64_t> seeds;
  CommandOptions prepare, train, evaluate;  // of all rows
  std::string published_base;  // whose published scores stand in the table; empty: there are none
  std::vector<StudyRow> rows;

  // Options that name files are taken to be relative to `folder`. Throws DataError that begins with `origin` and names
  // the row for unknown fields (with the nearest known one), wrong types, doubled names and unknown corpora.
  static Study parse(const std::string& json, const std::string& origin, const std::filesystem::path& folder);
  static Study load(const std::filesystem::path& path);
};

}  // namespace chorus
