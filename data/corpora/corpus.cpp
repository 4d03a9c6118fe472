#include "data/corpora/corpus.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "data/corpora/dailydialog.h"
#include "data/corpora/dialogue_lines.h"
#include "data/corpora/emorynlp.h"
#include "data/corpora/iemocap.h"
#include "data/corpora/meld.h"
#include "data/text/text.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

struct Reader {
  std::string_view name;
  Corpus (*read)(const std::filesystem::path& path, const CorpusOptions& options,
                 std::vector<SplitLedger>& ledgers);
};

constexpr std::array readers{Reader{"meld", read_meld}, Reader{"emorynlp", read_emorynlp},
                             Reader{"iemocap", read_iemocap}, Reader{"dailydialog", read_dailydialog},
                             Reader{"jsonl", read_dialogue_lines}};

}  // namespace

const std::vector<std::string>& dialogue_corpora() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Reader& reader : readers) all.emplace_back(reader.name);
    return all;
  }();
  return names;
}

Corpus read_corpus(const std::string& name, const std::filesystem::path& path, const CorpusOptions& options,
                   std::vector<SplitLedger>& ledgers) {
  const auto found =
      std::find_if(readers.begin(), readers.end(), [&](const Reader& reader) { return reader.name == name; });
  if (found == readers.end()) {
    throw ConfigurationError(fmt::format("'{}' is no corpus of dialogues: these are {}; did you mean '{}'?",
                                         name, joined(dialogue_corpora(), ", "),
                                         nearest(name, dialogue_corpora())));
  }
  require<DataError>(std::filesystem::is_directory(path), path.string(), ": no such folder");
  return found->read(path, options, ledgers);
}

}  // namespace chorus
