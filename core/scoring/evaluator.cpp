#include "core/scoring/evaluator.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "core/formats/finite.h"
#include "core/scoring/utterance_key.h"
#include "ops/base/clock.h"
#include "ops/base/index.h"
#include "ops/transfer.h"
#include "parallel/host_values.h"

namespace chorus {

namespace {

// Scores of all samples of trees [first, end), on all ranks. `evaluation` counts the tokens.
class WindowScoring {
 public:
  WindowScoring(const Model& model, const DataSplit& split, const BatchOptions& options, Arena& arena,
                const Progress& progress, const StopRequested& stop_requested)
      : model_(model),
        split_(split),
        batches_(split, of_windows(options), model.groups().data.size()),
        summed_at_once_(at(options.tokens_per_microbatch)),
        arena_(arena),
        progress_(progress),
        stop_requested_(stop_requested) {}

  std::vector<float> score(std::int64_t first, std::int64_t end, Evaluation& evaluation) const {
    const Communicator& data = model_.groups().data;
    const std::int64_t before = split_.tree_samples()[at(first)],
                       count = split_.tree_samples()[at(end)] - before;
    const Batches::Step step = batches_.whole_trees(first, end, data.rank());
    evaluation.tokens += step.tokens;
    evaluation.unshared_tokens += step.unshared_tokens;
    std::vector<float> scores(at(count)), times(at(count));
    StopAgreement agreement(stop_requested_, model_.groups(), model_.backend(), arena_);
    const std::int64_t microbatches = std::ssize(step.microbatches);
    for (std::int64_t i = 0; i < microbatches && !agreement.stops(); ++i) {
      score_microbatch(step.microbatches[at(i)], before, scores, times);
      if (progress_) progress_(before + count * (i + 1) / microbatches, split_.samples());
    }
    agreement.conclude();
    sum_over_data_ranks(scores);
    sum_over_data_ranks(times);
    for (std::size_t i = 0; i < times.size(); ++i) {
      require(times[i] == 1, "sample ", before + static_cast<std::int64_t>(i), " of the ",
              split_.origin().split, " split was scored ", times[i], " times");
    }
    return scores;
  }

 private:
  // What an epoch is concerns trainings alone.
  static BatchOptions of_windows(const BatchOptions& options) {
    return {.tokens_per_microbatch = options.tokens_per_microbatch, .prefix_sharing = options.prefix_sharing};
  }

  // Adds the scores of this rank's samples, counted from `first_sample`, and counts how often each has some.
  void score_microbatch(const MicroBatch& microbatch, std::int64_t first_sample, std::vector<float>& scores,
                        std::vector<float>& times) const {
    Arena::Scope scope(arena_);
    const DeviceBatch batch = model_.upload(microbatch, arena_);
    const Tensor log_probability =
        arena_.take(accumulator(model_.options().precision), {std::ssize(microbatch.targets)});
    model_.score(log_probability, batch, arena_);
    const std::vector<float> values = download_floats(model_.backend(), log_probability);
    for (std::size_t t = 0; t < values.size(); ++t)
      scores[at(microbatch.samples[at(microbatch.targets[t].sample)] - first_sample)] += values[t];
    for (const std::int64_t sample : microbatch.samples) times[at(sample - first_sample)] += 1;
  }

  // In pieces, since the arena is as large as micro-batches need it.
  void sum_over_data_ranks(std::span<float> values) const {
    for (std::size_t begin = 0; begin < values.size(); begin += summed_at_once_) {
      const std::size_t count = std::min(summed_at_once_, values.size() - begin);
      sum_over_ranks(values.subspan(begin, count), model_.groups().data, model_.backend(), arena_);
    }
  }

  const Model& model_;
  const DataSplit& split_;
  Batches batches_;
  std::size_t summed_at_once_;
  Arena& arena_;
  const Progress& progress_;
  const StopRequested& stop_requested_;
};

// A score that is no number would make the first label win everywhere.
void require_finite(float score, const SampleSummary& sample, std::int64_t index, const DataSplit& split) {
  if (std::isfinite(score)) return;
  const DatasetOrigin& origin = split.origin();
  const std::string line = sample.utterance < 0
                               ? fmt::format("sample {} of the {} split", index, origin.split)
                               : describe(key_of(origin, split.utterance(sample.utterance)));
  const std::string answer =
      sample.answer < 0 ? "" : fmt::format(" of the label '{}'", origin.labels[at(sample.answer)]);
  throw DataError(fmt::format("{}: the score{} is {}: {}", line, answer, score, not_finite_advice));
}

// The best label, and no answer where two are the best: what does not tell labels apart, as hidden states that overflowed,
// would else give the first label to all.
Prediction predict(std::span<const float> label_scores, std::int32_t gold) {
  const auto best = std::ranges::max_element(label_scores);
  const bool tied = std::ranges::count(label_scores, *best) > 1;
  return {.gold = gold,
          .predicted = tied ? no_label : static_cast<std::int32_t>(best - label_scores.begin()),
          .found = !tied};
}

// Calls use(first, end) for the trees of one window after another.
template <typename Use>
void for_each_window(const DataSplit& split, std::int64_t window, const Use& use) {
  for (std::int64_t first = 0, end = 0; first < split.trees(); first = end) {
    end = split.end_of_window(first, window);
    use(first, end);
  }
}

// In the order of the utterances.
UtterancePrompts prompts_of(const Dataset& dataset) {
  std::map<std::int32_t, std::vector<std::int32_t>> prompts;
  for (std::int64_t i = 0; i < std::ssize(dataset.samples); ++i) {
    std::vector<std::int32_t>& prompt = prompts[dataset.samples[at(i)].utterance];
    if (!prompt.empty()) continue;
    const Sequence sequence = dataset.sequence(i);
    const auto answer = std::find_if(sequence.labels.begin(), sequence.labels.end(),
                                     [](std::int32_t label) { return label != unsupervised; });
    prompt.assign(sequence.tokens.begin(), sequence.tokens.begin() + (answer - sequence.labels.begin()));
  }
  UtterancePrompts out;
  for (auto& [utterance, prompt] : prompts) {
    out.utterances.push_back(utterance);
    out.prompts.push_back(std::move(prompt));
  }
  return out;
}

}  // namespace

void for_each_window_of_prompts(const DataSplit& split,
                                const std::function<void(const UtterancePrompts&)>& use,
                                std::int64_t window) {
  for_each_window(split, window,
                  [&](std::int64_t first, std::int64_t end) { use(prompts_of(split.take(first, end))); });
}

Evaluation match_answers(std::vector<std::string> answers, const DataSplit& split, MatchRule rule) {
  const std::vector<std::int32_t> gold = split.utterance_labels();
  require(answers.size() == gold.size(), answers.size(), " answers to ", gold.size(), " utterances");
  Evaluation evaluation;
  evaluation.labels = split.origin().labels;
  for (std::size_t u = 0; u < answers.size(); ++u) {
    const LabelMatch match = match_label(answers[u], split.origin().label_words, rule);
    evaluation.predictions.push_back({gold[u], match.index, match.found});
  }
  evaluation.answers = std::move(answers);
  return evaluation;
}

Evaluation evaluate(const Model& model, const DataSplit& split, const BatchOptions& options, Arena& arena,
                    const Progress& progress, const StopRequested& stop_requested, std::int64_t window) {
  const Clock clock;
  const WindowScoring scoring(model, split, options, arena, progress, stop_requested);
  const std::vector<std::int32_t> gold = split.utterance_labels();
  const std::size_t labels = split.origin().labels.size();
  Evaluation evaluation;
  evaluation.labels = split.origin().labels;
  if (split.has_candidates()) evaluation.label_scores.resize(gold.size() * labels);
  double loss = 0;
  std::int64_t supervised = 0;  // tokens of the right answers
  for_each_window(split, window, [&](std::int64_t first, std::int64_t end) {
    const std::vector<float> scores = scoring.score(first, end, evaluation);
    const std::vector<SampleSummary> samples = split.summaries(first, end);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const auto& [utterance, answer, tokens] = samples[i];
      require_finite(scores[i], samples[i], split.tree_samples()[at(first)] + static_cast<std::int64_t>(i),
                     split);
      if (!evaluation.label_scores.empty())
        evaluation.label_scores[at(utterance) * labels + at(answer)] = scores[i];
      if (answer >= 0 && utterance >= 0 && gold[at(utterance)] != answer) continue;
      loss -= scores[i];
      supervised += tokens;
    }
  });
  // Without gold labels there are no right answers.
  evaluation.loss = supervised == 0 ? 0 : loss / static_cast<double>(supervised);
  for (std::size_t u = 0; u < gold.size() && !evaluation.label_scores.empty(); ++u)
    evaluation.predictions.push_back(
        predict(std::span(evaluation.label_scores).subspan(u * labels, labels), gold[u]));
  evaluation.seconds = clock.seconds();
  return evaluation;
}

}  // namespace chorus
