#include "data/prepare.h"

#include <algorithm>
#include <filesystem>

#include "data/corpora/corpus.h"
#include "data/corpora/split_files.h"
#include "data/preparation.h"
#include "data/prompts/chat_writer.h"
#include "data/text/files.h"
#include "data/text/folder_lock.h"
#include "data/text/text.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

void check_corpus(const std::string& corpus) {
  std::vector<std::string> known = dialogue_corpora();
  known.insert(known.end(), {"mixed", "messages", "tokens", "text"});
  require<ConfigurationError>(std::find(known.begin(), known.end(), corpus) != known.end(), "--corpus '",
                              corpus, "' is none of ", joined(known, ", "), "; did you mean '",
                              nearest(corpus, known), "'?");
}

}  // namespace

std::vector<Source> parse_sources(const std::vector<std::string>& inputs, const std::string& default_name,
                                  const std::string& kind) {
  std::vector<Source> sources;
  for (const std::string& input : inputs) {
    const std::size_t equals = input.find('=');
    Source source = equals == std::string::npos || std::filesystem::exists(input)
                        ? Source{default_name, input}
                        : Source{input.substr(0, equals), input.substr(equals + 1)};
    if (kind == "split") source.name = split_name(source.name);
    const bool good_name = !source.name.empty() && source.name.find_first_of("/\\.") == std::string::npos;
    require<ConfigurationError>(good_name, "input '", input, "': '", source.name,
                                "' cannot be the name of a ", kind);
    for (const Source& other : sources) {
      require<ConfigurationError>(other.name != source.name, "inputs '", other.path, "' and '", source.path,
                                  "' are both for the ", kind, " ", source.name,
                                  "; name them, as in dev=", source.path);
    }
    sources.push_back(std::move(source));
  }
  return sources;
}

Preparation::Preparation(const PrepareOptions& options, const PrepareProgress& progress,
                         const EmbedTexts& embed)
    : options(options), progress(progress), embed(embed) {
  ledger.corpus = options.corpus;
  if (!options.tokenizer.empty()) maybe_tokenizer = Tokenizer::load(options.tokenizer);
  const std::int64_t size = maybe_tokenizer ? maybe_tokenizer->size() : 0;
  vocabulary_size = options.vocabulary_size > 0 ? options.vocabulary_size : size;
  require<ConfigurationError>(size <= vocabulary_size, "tokenizer ", options.tokenizer, " has ", size,
                              " tokens but the model only ", vocabulary_size,
                              "; they do not belong together");
}

const Tokenizer& Preparation::tokenizer() const {
  require<ConfigurationError>(maybe_tokenizer.has_value(), "corpus ", options.corpus,
                              " needs a tokenizer; pass the model's tokenizer.model or tokenizer.json");
  return *maybe_tokenizer;
}

DatasetOrigin Preparation::origin(const std::string& split) const {
  DatasetOrigin origin;
  origin.corpora = {options.corpus};
  origin.split = split;
  origin.tokenizer_hash = maybe_tokenizer ? maybe_tokenizer->hash() : 0;
  origin.vocabulary_size = static_cast<std::int32_t>(vocabulary_size);
  return origin;
}

void Preparation::report(const std::string& what, std::int64_t done, std::int64_t total) const {
  if (progress) progress(what, done, total);
}

SplitWriter Preparation::writer(const DatasetOrigin& origin) const {
  return SplitWriter(folder, origin, options.shard_bytes);
}

ChatTemplate Preparation::chat_template(const std::string& name) {
  ChosenChatTemplate chosen = choose_chat_template(name, tokenizer());
  ledger.remarks.push_back(
      fmt::format("chat template {}{}", chosen.form.name, chosen.reason.empty() ? "" : ": " + chosen.reason));
  return std::move(chosen.form);
}

void Preparation::show_first(const std::string& split, const Sequence& sequence) {
  if (!ledger.example.empty()) return;
  ledger.example =
      fmt::format("the first of {}, learned between « and »:\n{}", split, marked_text(sequence, tokenizer()));
}

void Preparation::finish(SplitWriter& writer, SplitLedger& split) {
  const SplitCounts counts = writer.finish();
  require<DataError>(counts.samples > 0, "the ", split.split,
                     " split has no samples left: ", split.dropped_total(), " dropped, ", split.skipped(),
                     " rows skipped");
  split.samples = counts.samples;
  split.trees = counts.trees;
  split.tokens = counts.tokens;
  split.unshared_tokens = counts.unshared_tokens;
  split.supervised_tokens = counts.supervised_tokens;
}

Ledger prepare(const PrepareOptions& options, const PrepareProgress& progress, const EmbedTexts& embed) {
  require<ConfigurationError>(!options.output.empty(), "--output is missing");
  FolderLock output(options.output, FolderLock::Former::refused);
  check_corpus(options.corpus);
  require<ConfigurationError>(!options.inputs.empty(), "corpus ", options.corpus, " needs an input");
  Preparation preparation(options, progress, embed);
  // All of it appears or nothing.
  preparation.folder = output.begin_contents();
  if (options.corpus == "tokens") {
    prepare_tokens(preparation);
  } else if (options.corpus == "messages") {
    prepare_messages(preparation);
  } else if (options.corpus == "text") {
    prepare_text(preparation);
  } else {
    prepare_dialogues(preparation);
  }
  write_new_file(preparation.folder / "ledger.json", preparation.ledger.to_json());
  if (!options.config.empty()) write_new_file(preparation.folder / "config.ini", options.config);
  output.publish();
  return preparation.ledger;
}

}  // namespace chorus
