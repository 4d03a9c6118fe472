#include "core/scoring/evaluator.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/formats/finite.h"
#include "core/scoring/utterance_key.h"
#include "ops/base/clock.h"
#include "ops/base/index.h"
#include "ops/transfer.h"
#include "parallel/host_values.h"

namespace chorus {

namespace {

// Adds the scores of this rank's samples to `scores` and counts them in `times`.
void score_microbatch(const MicroBatch& microbatch, const Model& model, Arena& arena,
                      std::vector<float>& scores, std::vector<float>& times) {
  Arena::Scope scope(arena);
  const DeviceBatch batch = model.upload(microbatch, arena);
  const Tensor log_probability =
      arena.take(accumulator(model.options().precision), {std::ssize(microbatch.targets)});
  model.score(log_probability, batch, arena);
  const std::vector<float> values = download_floats(model.backend(), log_probability);
  for (std::size_t t = 0; t < values.size(); ++t) {
    scores[at(microbatch.samples[at(microbatch.targets[t].sample)])] += values[t];
  }
  for (const std::int64_t sample : microbatch.samples) times[at(sample)] += 1;
}

bool is_right_answer(const Dataset& dataset, const Sample& sample) {
  return sample.answer < 0 || sample.utterance < 0 ||
         dataset.utterances[at(sample.utterance)].label == sample.answer;
}

double mean_loss(const std::vector<float>& scores, const Dataset& dataset) {
  double sum = 0;
  std::int64_t tokens = 0;
  for (std::int64_t i = 0; i < std::ssize(dataset.samples); ++i) {
    if (!is_right_answer(dataset, dataset.samples[at(i)])) continue;
    sum -= scores[at(i)];
    tokens += std::ssize(dataset.targets_of(i));
  }
  return tokens == 0 ? 0 : sum / static_cast<double>(tokens);  // no gold labels: no right answers
}

// A score that is no number would make the first label win everywhere.
void require_finite(const std::vector<float>& scores, const Dataset& dataset) {
  const auto bad = std::ranges::find_if(scores, [](float score) { return !std::isfinite(score); });
  if (bad == scores.end()) return;
  const Sample& sample = dataset.samples[static_cast<std::size_t>(bad - scores.begin())];
  const std::string line = sample.utterance < 0 ? fmt::format("sample {} of the {} split",
                                                              bad - scores.begin(), dataset.origin.split)
                                                : describe(key_of(dataset, sample.utterance));
  const std::string answer =
      sample.answer < 0 ? "" : fmt::format(" of the label '{}'", dataset.origin.labels[at(sample.answer)]);
  throw DataError(fmt::format("{}: the score{} is {}: {}", line, answer, *bad, not_finite_advice));
}

// The best label of each utterance, and no answer where two are the best: what does not tell labels apart, as hidden states
// that overflowed, would else give the first label to all.
std::vector<Prediction> predict(const std::vector<float>& scores, const Dataset& dataset) {
  std::vector<float> best(dataset.utterances.size(), -std::numeric_limits<float>::infinity());
  std::vector<Prediction> predictions;
  for (const UtteranceReference& utterance : dataset.utterances)
    predictions.push_back({.gold = utterance.label});
  for (std::size_t i = 0; i < dataset.samples.size(); ++i) {
    const std::size_t utterance = at(dataset.samples[i].utterance);
    if (scores[i] < best[utterance]) continue;
    const bool tied = scores[i] == best[utterance];
    best[utterance] = scores[i];
    predictions[utterance].predicted = tied ? no_label : dataset.samples[i].answer;
    predictions[utterance].found = !tied;
  }
  return predictions;
}

}  // namespace

std::vector<std::vector<std::int32_t>> prompts_of(const Dataset& dataset) {
  std::vector<std::vector<std::int32_t>> prompts(dataset.utterances.size());
  for (std::int64_t i = 0; i < std::ssize(dataset.samples); ++i) {
    std::vector<std::int32_t>& prompt = prompts[at(dataset.samples[at(i)].utterance)];
    if (!prompt.empty()) continue;
    const Sequence sequence = dataset.sequence(i);
    const auto answer = std::find_if(sequence.labels.begin(), sequence.labels.end(),
                                     [](std::int32_t label) { return label != unsupervised; });
    prompt.assign(sequence.tokens.begin(), sequence.tokens.begin() + (answer - sequence.labels.begin()));
  }
  return prompts;
}

Evaluation match_answers(std::vector<std::string> answers, const Dataset& dataset, MatchRule rule) {
  require(answers.size() == dataset.utterances.size(), answers.size(), " answers to ",
          dataset.utterances.size(), " utterances");
  Evaluation evaluation;
  for (std::size_t u = 0; u < answers.size(); ++u) {
    const LabelMatch match = match_label(answers[u], dataset.origin.label_words, rule);
    evaluation.predictions.push_back({dataset.utterances[u].label, match.index, match.found});
  }
  evaluation.answers = std::move(answers);
  return evaluation;
}

bool has_candidates(const Dataset& dataset) {
  if (dataset.utterances.empty()) return false;
  const std::size_t labels = dataset.origin.labels.size();
  std::vector<int> seen(dataset.utterances.size() * labels);
  for (const Sample& sample : dataset.samples) {
    if (sample.utterance < 0 || sample.answer < 0) return false;
    ++seen[at(sample.utterance) * labels + at(sample.answer)];
  }
  return std::all_of(seen.begin(), seen.end(), [](int times) { return times == 1; });
}

Evaluation evaluate(const Model& model, const Dataset& dataset, BatchOptions options, Arena& arena,
                    const Progress& progress, const StopRequested& stop_requested) {
  const Clock clock;
  const Groups& groups = model.groups();
  // One step of all samples, so that no tree is cut more often than micro-batches and ranks ask for.
  options.batch_size = std::ssize(dataset.samples);
  options.shuffle = false;
  options.curriculum = 1;
  const Batches batches(dataset, options, groups.data.size());
  const Batches::Step step = batches.step(0, groups.data.rank());
  Evaluation evaluation;
  evaluation.tokens = step.tokens;
  evaluation.unshared_tokens = step.unshared_tokens;
  evaluation.sample_scores.resize(dataset.samples.size());
  std::vector<float> times(dataset.samples.size());
  StopAgreement agreement(stop_requested, groups, model.backend(), arena);
  for (std::size_t i = 0; i < step.microbatches.size() && !agreement.stops(); ++i) {
    score_microbatch(step.microbatches[i], model, arena, evaluation.sample_scores, times);
    if (progress) progress(static_cast<std::int64_t>(i) + 1, std::ssize(step.microbatches));
  }
  agreement.conclude();
  for (std::vector<float>* values : {&evaluation.sample_scores, &times})
    sum_over_ranks(std::span(*values), groups.data, model.backend(), arena);
  for (std::size_t i = 0; i < times.size(); ++i) {
    require(times[i] == 1, "sample ", i, " of the ", dataset.origin.split, " split was scored ", times[i],
            " times");
  }
  require_finite(evaluation.sample_scores, dataset);
  evaluation.loss = mean_loss(evaluation.sample_scores, dataset);
  if (has_candidates(dataset)) evaluation.predictions = predict(evaluation.sample_scores, dataset);
  evaluation.seconds = clock.seconds();
  return evaluation;
}

}  // namespace chorus
