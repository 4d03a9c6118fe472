#include "data/corpora/captions.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "data/corpora/normalise.h"
#include "data/corpora/split_files.h"
#include "data/text/json.h"
#include "data/text/text.h"
#include "data/text/text_file.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

using Key = std::tuple<std::string, std::string, std::string>;  // split, dialogue, utterance

struct Caption {
  std::string text, corpus;
  bool used = false;
};

std::map<Key, std::vector<Caption>> read_captions(const std::string& path) {
  std::map<Key, std::vector<Caption>> captions;
  for (const NumberedLine& line : filled_lines(read_text_file(path))) {
    const std::string where = fmt::format("{}:{}", path, line.number);
    const nlohmann::json json = parse_json(line.text, where);
    const JsonFields fields(json, where, {"corpus", "split", "dialogue", "utterance", "text"});
    const Caption caption{fields.required_text("text"), fields.text("corpus").value_or("")};
    require<DataError>(!is_blank(caption.text), where, ": field 'text' is blank; leave the line out");
    const Key key{split_name(fields.required_text("split")), fields.required_text("dialogue"),
                  fields.required_text("utterance")};
    std::vector<Caption>& same = captions[key];
    for (const Caption& other : same) {
      require<DataError>(!other.corpus.empty() && !caption.corpus.empty() && other.corpus != caption.corpus,
                         where, ": a second caption of utterance ", std::get<2>(key), " of dialogue ",
                         std::get<1>(key), " in ", std::get<0>(key));
    }
    same.push_back(caption);
  }
  return captions;
}

}  // namespace

void join_captions(const std::string& path, std::vector<Corpus>& corpora,
                   std::vector<std::vector<SplitLedger>>& ledgers, Ledger& ledger) {
  std::map<Key, std::vector<Caption>> captions = read_captions(path);
  std::int64_t joined_captions = 0, unused = 0;
  for (std::size_t c = 0; c < corpora.size(); ++c) {
    for (std::size_t s = 0; s < corpora[c].splits.size(); ++s) {
      CorpusSplit& split = corpora[c].splits[s];
      std::int64_t missing = 0;
      for (Dialogue& dialogue : split.dialogues) {
        for (Utterance& utterance : dialogue.utterances) {
          const auto found = captions.find({split.name, dialogue.id, utterance.id});
          std::vector<Caption> none;
          std::vector<Caption>& same = found == captions.end() ? none : found->second;
          const auto caption = std::find_if(same.begin(), same.end(), [&](const Caption& candidate) {
            return candidate.corpus.empty() || candidate.corpus == corpora[c].name;
          });
          if (caption == same.end()) {
            missing += utterance.caption.empty() ? 1 : 0;
            continue;
          }
          utterance.caption = caption->text;
          ledgers[c][s].normalised_characters += normalise(utterance.caption);
          caption->used = true;
          ++joined_captions;
        }
      }
      ledgers[c][s].notes["utterances without a caption"] = missing;
    }
  }
  for (const auto& [key, same] : captions) {
    unused += std::count_if(same.begin(), same.end(), [](const Caption& caption) { return !caption.used; });
  }
  ledger.notes["captions of utterances that are not there"] = unused;
  require<DataError>(
      joined_captions > 0, path, ": none of its ", unused,
      " captions names an utterance of the corpus; the ids must be those of the corpus, for example "
      "dialogue ",
      corpora[0].splits[0].dialogues[0].id, ", utterance ",
      corpora[0].splits[0].dialogues[0].utterances[0].id, " in ", corpora[0].splits[0].name);
}

}  // namespace chorus
