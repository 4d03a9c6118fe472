#include "data/read_dialogues.h"

#include <set>

#include "data/corpora/corpus.h"
#include "data/corpora/label_map.h"
#include "data/corpora/side_texts.h"
#include "data/preparation.h"
#include "data/sets/feature_file.h"
#include "data/text/text.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

Dialogues read_corpora(const PrepareOptions& options) {
  std::vector<Source> sources{{options.corpus, options.inputs[0]}};
  if (options.corpus == "mixed") {
    sources = parse_sources(options.inputs, "", "corpus");
  } else {
    require<ConfigurationError>(options.inputs.size() == 1, "corpus ", options.corpus,
                                " takes one path, not ", options.inputs.size());
  }
  Dialogues dialogues;
  for (const Source& source : sources) {
    dialogues.corpora.push_back(
        read_corpus(source.name, source.path, {options.skip_bad_rows}, dialogues.ledgers.emplace_back()));
    dialogues.first_speakers.push_back(0);
  }
  return dialogues;
}

void unify_labels(Dialogues& dialogues, const PrepareOptions& options) {
  std::vector<Corpus>& corpora = dialogues.corpora;
  if (!options.label_map.empty()) {
    const LabelMap map = LabelMap::load(options.label_map);
    for (std::size_t c = 0; c < corpora.size(); ++c) {
      map.apply(corpora[c]);
      dialogues.first_speakers[c] = map.first_speaker(corpora[c].name);
    }
  }
  for (const Corpus& corpus : corpora) {
    require<ConfigurationError>(corpus.labels == corpora[0].labels, corpus.name, " has the labels ",
                                joined(corpus.labels, ", "), " and ", corpora[0].name, " has ",
                                joined(corpora[0].labels, ", "), "; say with --label-map what they become");
  }
}

// Gives each utterance its rows of the table, which is returned, split after split; one of zeros where the file has
// none, as other programs do.
std::map<std::string, FeatureTable> join_features(Dialogues& dialogues, const PrepareOptions& options) {
  require<ConfigurationError>(dialogues.corpora.size() == 1,
                              "--features: a file belongs to one corpus, not to ", dialogues.corpora.size(),
                              " that are mixed");
  const FeatureFile file(options.features, options.feature_key);
  std::map<std::string, FeatureTable> tables;
  for (std::size_t s = 0; s < dialogues.corpora[0].splits.size(); ++s) {
    CorpusSplit& split = dialogues.corpora[0].splits[s];
    std::vector<Line> missing;
    FeatureTable& table = tables[split.name];
    table.width = file.width();
    table.half_precision = options.half_precision_features;
    for (Dialogue& dialogue : split.dialogues) {
      for (std::size_t turn = 0; turn < dialogue.utterances.size(); ++turn) {
        Utterance& utterance = dialogue.utterances[turn];
        std::vector<float> rows(static_cast<std::size_t>(table.width));
        if (options.missing_features == MissingFeatures::zeros &&
            !file.holds(split.name, dialogue.id, utterance.id)) {
          missing.push_back({&dialogue, turn});
        } else {
          rows = file.read(split.name, dialogue.id, utterance.id, options.feature_rows);
        }
        utterance.first_feature = static_cast<std::int32_t>(table.rows());
        utterance.features = static_cast<std::int32_t>(std::ssize(rows) / table.width);
        table.values.insert(table.values.end(), rows.begin(), rows.end());
      }
    }
    SplitLedger& ledger = dialogues.ledgers[0][s];
    if (!missing.empty())
      ledger.notes["lines without features, which have a row of zeros"] = std::ssize(missing);
    // Where none is there, the keys are wrong, and read() says how they are made.
    if (std::ssize(missing) == ledger.utterances)
      file.read(split.name, missing[0].dialogue->id, missing[0].utterance().id, options.feature_rows);
  }
  return tables;
}

struct SideSource {
  std::string name, path, option;  // what gave it
};

std::vector<SideSource> side_sources(const PrepareOptions& options) {
  std::vector<SideSource> sources;
  if (!options.captions.empty()) sources.push_back({"caption", options.captions, "--captions"});
  for (const std::string& given : options.side) {
    const std::size_t equals = given.find('=');
    const std::string name = given.substr(0, equals), option = "--side " + name;
    require<ConfigurationError>(equals != std::string::npos && equals + 1 < given.size(), "--side '", given,
                                "' must be NAME=FILE");
    require<ConfigurationError>(is_side_name(name), option, ": ", side_name_rule);
    for (const SideSource& other : sources)
      require<ConfigurationError>(other.name != name, option, ": ", other.option, " gives it as well, from ",
                                  other.path);
    sources.push_back({name, given.substr(equals + 1), option});
  }
  return sources;
}

// Gives the lines their side texts, and counts those without.
void add_side_texts(Dialogues& dialogues, const PrepareOptions& options, const Recipe& recipe,
                    const std::optional<Recipe>& auxiliary, Ledger& ledger) {
  std::set<std::string> shown = recipe.side_texts(), needed = recipe.needed_side_texts();
  if (auxiliary) {
    shown.merge(auxiliary->side_texts());
    needed.merge(auxiliary->needed_side_texts());
  }
  for (const auto& [name, path, option] : side_sources(options)) {
    const std::string near = nearest(name, std::vector<std::string>(shown.begin(), shown.end()));
    require<ConfigurationError>(
        shown.contains(name), option, ": recipe ", recipe.name, " shows no {", name, "}",
        near.empty() ? "; use one with a part that says \"where\" (--recipe dialogue shows {caption}, traits "
                       "{traits})"
                     : "; did you mean {" + near + "}?");
    const bool of_speakers = join_side_texts(name, path, dialogues.corpora, dialogues.ledgers, ledger);
    require<ConfigurationError>(!of_speakers || recipe.task != Recipe::Task::speaker, option,
                                ": texts of a speaker tell the answer of recipe ", recipe.name);
  }
  for (const std::string& name : shown) {
    require<ConfigurationError>(
        count_lines_without(name, dialogues.corpora, dialogues.ledgers) || !needed.contains(name), "recipe ",
        recipe.name, " shows {", name, "}, and no line has it: give them by --side ", name, "=FILE");
  }
}

// Labels that differ in case only are mostly one label written in two ways.
void note_labels_alike(const std::vector<std::string>& labels, Ledger& ledger) {
  std::map<std::string, std::vector<std::string>> alike;
  for (const std::string& label : labels) alike[lower_case(label)].push_back(label);
  for (const auto& [small, same] : alike) {
    if (same.size() > 1)
      ledger.notes["labels that differ in case only, " + joined(same, ", ")] = std::ssize(same);
  }
}

}  // namespace

Dialogues read_dialogues(const PrepareOptions& options, const Recipe& recipe,
                         const std::optional<Recipe>& auxiliary, Ledger& ledger) {
  Dialogues dialogues = read_corpora(options);
  unify_labels(dialogues, options);
  add_side_texts(dialogues, options, recipe, auxiliary, ledger);
  require<ConfigurationError>(
      recipe.mentions("features") == !options.features.empty(), "recipe ", recipe.name,
      options.features.empty() ? " shows features: give it a file with --features"
                               : " shows no features; use --recipe features with --features");
  if (!options.features.empty()) dialogues.features = join_features(dialogues, options);
  note_labels_alike(dialogues.corpora[0].labels, ledger);
  return dialogues;
}

}  // namespace chorus
