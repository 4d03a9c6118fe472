#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <unordered_set>

#include "data/corpora/difficulty.h"
#include "data/corpora/label_weights.h"
#include "data/preparation.h"
#include "data/prompts/prompt.h"
#include "data/read_dialogues.h"
#include "data/text/text.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

using Task = Recipe::Task;

bool is_training(const CorpusSplit& split) { return split.name == "train"; }

// What can be answered with.
std::vector<std::string> answers_of(const Recipe& recipe, const Dialogues& dialogues) {
  if (recipe.task != Task::speaker) return dialogues.corpora[0].labels;
  std::int64_t last = 0;
  dialogues.for_each_line([&](std::size_t corpus, const CorpusSplit&, const Line& line) {
    last = std::max(last, speaker_number(recipe, line, dialogues.first_speakers[corpus]));
  });
  std::vector<std::string> speakers;
  for (std::int64_t number = 0; number <= last; ++number) speakers.push_back(numbered_speaker(number));
  return speakers;
}

Recipe load_recipe(const std::string& name, const std::string& option, const PrepareOptions& options,
                   const std::optional<ChatTemplate>& chat) {
  Recipe recipe = Recipe::load(name, option);
  if (!options.history.empty()) recipe = recipe.with_history(options.history, "--history");
  if (options.answer_end != AnswerEnd::as_recipe)
    recipe = recipe.with_open_answer(options.answer_end == AnswerEnd::none);
  return chat ? recipe.with_chat_template(*chat) : recipe;
}

// Writes the data sets of one run.
class DialogueWriter {
 public:
  DialogueWriter(Preparation& preparation, const Dialogues& dialogues, Recipe recipe,
                 const std::optional<Recipe>& auxiliary)
      : preparation_(preparation),
        options_(preparation.options),
        dialogues_(dialogues),
        labels_(answers_of(recipe, dialogues)),
        recipe_(std::move(recipe)) {
    find_unlabelled();
    for (const std::int64_t first_speaker : dialogues_.first_speakers) {
      writers_.emplace_back(recipe_, preparation_.tokenizer(), settings(first_speaker));
    }
    if (auxiliary) add_auxiliary(*auxiliary);
    select();
    weigh_labels();
    if (options_.demonstrations.count > 0) add_demonstrations();
  }

  void write(const std::string& split_name) {
    SplitLedger& ledger = preparation_.ledger.splits.emplace_back();
    ledger.split = split_name;
    SplitWriter writer = preparation_.writer(origin(split_name));
    const auto features = dialogues_.features.find(split_name);
    if (features != dialogues_.features.end()) writer.set_features(features->second);
    const std::vector<Place> places = dialogues_of(split_name, ledger);
    for (std::size_t i = 0; i < places.size(); ++i) {
      const Place& place = places[i];
      add_dialogue(place.corpus, *place.split, *place.dialogue, writer, ledger);
      preparation_.report(split_name, static_cast<std::int64_t>(i + 1), std::ssize(places));
    }
    Preparation::finish(writer, ledger);
  }

 private:
  // A dialogue and where it is from.
  struct Place {
    std::size_t corpus;
    const CorpusSplit* split;
    const Dialogue* dialogue;
  };

  // In the order in which they are written.
  std::vector<Place> dialogues_of(const std::string& split_name, SplitLedger& ledger) {
    std::vector<Place> places;
    for (std::size_t c = 0; c < dialogues_.corpora.size(); ++c) {
      const std::vector<CorpusSplit>& splits = dialogues_.corpora[c].splits;
      for (std::size_t s = 0; s < splits.size(); ++s) {
        if (splits[s].name != split_name) continue;
        ledger.add_reading(dialogues_.ledgers[c][s]);
        for (const Dialogue& dialogue : splits[s].dialogues) places.push_back({c, &splits[s], &dialogue});
      }
    }
    if (options_.order == DialogueOrder::difficulty && split_name == "train") sort_by_difficulty(places);
    return places;
  }

  void sort_by_difficulty(std::vector<Place>& places) {
    const EmotionWheel wheel =
        options_.emotion_wheel.empty() ? EmotionWheel() : EmotionWheel(options_.emotion_wheel);
    const std::vector<std::string>& labels = dialogues_.corpora[0].labels;
    wheel.require_labels(labels);
    std::vector<std::pair<double, Place>> ranked;
    for (const Place& place : places)
      ranked.emplace_back(difficulty(*place.dialogue, wheel, labels.size()), place);
    std::ranges::stable_sort(ranked, {}, &std::pair<double, Place>::first);
    for (std::size_t i = 0; i < places.size(); ++i) places[i] = ranked[i].second;
    if (ranked.empty()) return;
    preparation_.ledger.remarks.push_back(
        fmt::format("dialogues of train by difficulty, from {:.2f} to {:.2f}", ranked.front().first,
                    ranked.back().first));
  }

  void find_unlabelled() {
    std::set<std::string> labelled;
    for (const Corpus& corpus : dialogues_.corpora) {
      for (const CorpusSplit& split : corpus.splits)
        (split.has_labels ? labelled : unlabelled_).insert(split.name);
    }
    for (const std::string& split : labelled) unlabelled_.erase(split);
    unlabelled_.erase("train");
  }

  PromptWriter::Settings settings(std::int64_t first_speaker) const {
    return {labels_, options_.max_tokens, first_speaker};
  }

  void add_auxiliary(const Recipe& auxiliary) {
    require<ConfigurationError>(
        auxiliary.task != Task::speaker && recipe_.task != Task::speaker, "--auxiliary ", options_.auxiliary,
        ": two tasks of one data set must have the same answers, and those of a task about "
        "speakers are their own; train it as a stage of its own, and start the next from "
        "its --adapter");
    for (const std::int64_t first_speaker : dialogues_.first_speakers) {
      auxiliary_.emplace_back(auxiliary, preparation_.tokenizer(), settings(first_speaker));
    }
  }

  // A line without a label is context only, unless it is of a split without any: that is to be answered, not scored.
  bool can_be_asked(const std::string& split, const Utterance& utterance) const {
    return recipe_.task == Task::speaker || !utterance.label.empty() || unlabelled_.contains(split);
  }

  // Which lines are asked about in training.
  void select() {
    std::vector<std::vector<const Utterance*>> candidates(dialogues_.corpora.size());
    dialogues_.for_each_line([&](std::size_t corpus, const CorpusSplit& split, const Line& line) {
      if (is_training(split) && can_be_asked(split.name, line.utterance()))
        candidates[corpus].push_back(&line.utterance());
    });
    const double fraction = parse_fraction(options_.fraction);
    for (const Utterance* utterance :
         fraction_of(candidates, fraction, options_.mix, options_.fraction_seed)) {
      selected_.insert(utterance);
    }
  }

  void weigh_labels() {
    require<ConfigurationError>(options_.label_weights.empty() || recipe_.task != Task::speaker,
                                "--label-weights: the answers of recipe ", recipe_.name, " are speakers");
    std::vector<std::int64_t> counts(labels_.size());
    for (const Utterance* utterance : selected_) {
      const auto label = std::ranges::find(labels_, utterance->label);
      if (label != labels_.end()) ++counts[static_cast<std::size_t>(label - labels_.begin())];
    }
    label_weights_ = label_weights(options_.label_weights, labels_, counts);
    if (options_.label_weights.empty()) return;
    std::vector<std::string> weights;
    for (std::size_t i = 0; i < labels_.size(); ++i)
      weights.push_back(fmt::format("{} {:.4g}", labels_[i], label_weights_[i]));
    preparation_.ledger.remarks.push_back("weights in the loss: " + joined(weights, ", "));
  }

  // Of a sample in the loss of its split; those that are not learned have 1.
  double weight(const CorpusSplit& split, std::int32_t answer) const {
    return is_training(split) && answer >= 0 ? label_weights_[static_cast<std::size_t>(answer)] : 1;
  }

  void add_demonstrations() {
    require<ConfigurationError>(recipe_.has(Recipe::PartKind::demonstrations), "--demonstrations: recipe ",
                                recipe_.name, " has no part of kind demonstrations; use --recipe retrieval");
    std::vector<Line> pool;
    std::vector<std::string> texts;
    dialogues_.for_each_line([&](std::size_t, const CorpusSplit& split, const Line& line) {
      if (selected_.contains(&line.utterance()) && !line.utterance().label.empty()) pool.push_back(line);
      if (can_be_asked(split.name, line.utterance())) texts.push_back(line.utterance().text);
    });
    demonstrations_.emplace(options_.demonstrations, std::move(pool), std::move(texts), preparation_.embed);
  }

  DatasetOrigin origin(const std::string& split) const {
    DatasetOrigin origin = preparation_.origin(split);
    origin.corpora.clear();
    for (const Corpus& corpus : dialogues_.corpora) origin.corpora.push_back(corpus.name);
    origin.recipe_name = preparation_.ledger.recipe;
    origin.recipe_text = recipe_.json;
    origin.labels = labels_;
    origin.label_words = writers_[0].words();
    return origin;
  }

  // The index of the right answer; -1 where there is none.
  std::int32_t gold(std::size_t corpus, const Line& line) const {
    if (recipe_.task == Task::speaker) {
      return static_cast<std::int32_t>(speaker_number(recipe_, line, dialogues_.first_speakers[corpus]));
    }
    if (line.utterance().label.empty()) return -1;
    const auto label = std::find(labels_.begin(), labels_.end(), line.utterance().label);
    return static_cast<std::int32_t>(label - labels_.begin());
  }

  void add_dialogue(std::size_t corpus, const CorpusSplit& split, const Dialogue& dialogue,
                    SplitWriter& writer, SplitLedger& ledger) {
    std::vector<GroupSample> samples;
    for (std::size_t turn = 0; turn < dialogue.utterances.size(); ++turn) {
      const Line line{&dialogue, turn};
      if (!can_be_asked(split.name, line.utterance())) {
        ++ledger.dropped["without a label, context only"];
      } else if (is_training(split) && !selected_.contains(&line.utterance())) {
        ++ledger.dropped["not in the fraction of " + options_.fraction];
      } else {
        add_line(corpus, split, line, writer, ledger, samples);
      }
    }
    if (samples.empty()) return;
    writer.add_group(samples, split.file + ": dialogue " + dialogue.id);
    if (recipe_.chat) preparation_.show_first(split.name, samples[0].sequence);
  }

  void add_line(std::size_t corpus, const CorpusSplit& split, const Line& line, SplitWriter& writer,
                SplitLedger& ledger, std::vector<GroupSample>& samples) {
    const bool training = is_training(split);
    const std::int32_t right = gold(corpus, line);
    if (right < 0) ++ledger.notes["lines without a label, which are answered and not scored"];
    std::vector<std::int32_t> answers{right};
    if (!training) {
      answers.resize(labels_.size());
      std::iota(answers.begin(), answers.end(), 0);
    }
    std::vector<Line> examples;
    if (demonstrations_) examples = demonstrations_->find(line, training);
    const Prompts prompts =
        ask(writers_[corpus], split, line, answers, training && recipe_.supervise_all, examples);
    if (prompts.sequences.empty()) {
      ++ledger.dropped[fmt::format("more than {} tokens without history", options_.max_tokens)];
      return;
    }
    const Utterance& utterance = line.utterance();
    const std::int32_t index = writer.add_utterance({static_cast<std::int32_t>(corpus), line.dialogue->id,
                                                     utterance.id, utterance.speaker, utterance.text, right});
    append(prompts, answers, index, weight(split, right), ledger, samples);
    if (training && !auxiliary_.empty())
      add_auxiliary(auxiliary_[corpus], split, line, index, right, ledger, samples);
  }

  // Says which line it was.
  static Prompts ask(PromptWriter& writer, const CorpusSplit& split, const Line& line,
                     const std::vector<std::int32_t>& answers, bool supervise_all,
                     const std::vector<Line>& examples) {
    try {
      return writer.write(line, answers, supervise_all, examples);
    } catch (const DataError& error) {
      throw DataError(fmt::format("{}:{}: {}", split.file, line.utterance().line, error.what()));
    }
  }

  void add_auxiliary(PromptWriter& writer, const CorpusSplit& split, const Line& line, std::int32_t utterance,
                     std::int32_t right, SplitLedger& ledger, std::vector<GroupSample>& samples) {
    const Recipe& recipe = writer.recipe();
    if (recipe.task == Task::impact && (line.turn == 0 || recipe.history == 0)) {
      ++ledger.notes["lines that show nothing before them, about which " + recipe.name + " cannot ask"];
      return;
    }
    const std::vector<std::int32_t> answers{right};
    const Prompts prompts = ask(writer, split, line, answers, recipe.supervise_all, {});
    if (prompts.sequences.empty()) {
      ++ledger.notes[fmt::format("lines too long to ask {} about", recipe.name)];
      return;
    }
    append(prompts, answers, utterance, options_.auxiliary_weight * weight(split, right), ledger, samples);
    ++ledger.notes["samples of the auxiliary task"];
  }

  static void append(const Prompts& prompts, const std::vector<std::int32_t>& answers, std::int32_t utterance,
                     double weight, SplitLedger& ledger, std::vector<GroupSample>& samples) {
    for (std::size_t i = 0; i < answers.size(); ++i) {
      ledger.longest_sample =
          std::max(ledger.longest_sample, std::int64_t{std::ssize(prompts.sequences[i].tokens)});
      samples.push_back({prompts.sequences[i], utterance, answers[i], static_cast<float>(weight)});
    }
    if (prompts.lines_cut > 0) ledger.shortened_samples += std::ssize(answers);
    ledger.lines_cut += prompts.lines_cut;
  }

  Preparation& preparation_;
  const PrepareOptions& options_;
  const Dialogues& dialogues_;
  std::vector<std::string> labels_;
  Recipe recipe_;
  std::vector<PromptWriter> writers_, auxiliary_;  // of each corpus
  std::unordered_set<const Utterance*> selected_;  // of the train splits
  std::vector<double> label_weights_;              // of labels_
  std::set<std::string> unlabelled_;               // splits where no line has a label
  std::optional<Demonstrations> demonstrations_;
};

}  // namespace

void prepare_dialogues(Preparation& preparation) {
  const PrepareOptions& options = preparation.options;
  std::optional<ChatTemplate> chat;
  if (!options.chat_template.empty()) chat = preparation.chat_template(options.chat_template);
  Recipe recipe = load_recipe(options.recipe, "--recipe", options, chat);
  std::optional<Recipe> auxiliary;
  preparation.ledger.recipe = recipe.title();
  if (!options.auxiliary.empty()) {
    auxiliary = load_recipe(options.auxiliary, "--auxiliary", options, chat);
    preparation.ledger.recipe += fmt::format(" + {} x {}", options.auxiliary_weight, options.auxiliary);
  }
  const Dialogues dialogues = read_dialogues(options, recipe, auxiliary, preparation.ledger);
  DialogueWriter writer(preparation, dialogues, std::move(recipe), auxiliary);
  std::vector<std::string> written;
  for (const Corpus& corpus : dialogues.corpora) {
    for (const CorpusSplit& split : corpus.splits) {
      if (std::find(written.begin(), written.end(), split.name) != written.end()) continue;
      writer.write(split.name);
      written.push_back(split.name);
    }
  }
}

}  // namespace chorus
