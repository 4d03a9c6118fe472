#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/corpora/ledger.h"
#include "data/prepare_options.h"
#include "data/prompts/chat_template.h"
#include "data/prompts/tokenizer.h"
#include "data/sets/split_writer.h"

namespace chorus {

// One run of prepare(): what all kinds of corpora have in common. The four functions below each read one kind and
// write and finish() its splits.
struct Preparation {
  Preparation(const PrepareOptions& options, const PrepareProgress& progress, const EmbedTexts& embed);

  const Tokenizer& tokenizer() const;
  DatasetOrigin origin(const std::string& split) const;
  void report(const std::string& what, std::int64_t done, std::int64_t total) const;
  SplitWriter writer(const DatasetOrigin& origin) const;
  // A chat template by name or path, or "auto"; the ledger says which it is and why.
  ChatTemplate chat_template(const std::string& name);
  // Once: what is learned, for people to compare.
  void show_first(const std::string& split, const Sequence& sequence);
  // Counts what is in it.
  static void finish(SplitWriter& writer, SplitLedger& ledger);

  const PrepareOptions& options;
  const PrepareProgress& progress;
  const EmbedTexts& embed;
  std::optional<Tokenizer> maybe_tokenizer;
  std::int64_t vocabulary_size = 0;
  Ledger ledger;
  std::filesystem::path folder;  // to write in
};

void prepare_dialogues(Preparation& preparation);
void prepare_messages(Preparation& preparation);
void prepare_tokens(Preparation& preparation);
void prepare_text(Preparation& preparation);

struct Source {
  std::string name, path;
};

// NAME=PATH, or PATH alone, whose name is `default_name`. Throws ConfigurationError for a name that is missing, no name
// or given twice; `kind` says in messages what it names.
std::vector<Source> parse_sources(const std::vector<std::string>& inputs, const std::string& default_name,
                                  const std::string& kind);

}  // namespace chorus
