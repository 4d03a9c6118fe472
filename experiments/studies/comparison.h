#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/scoring/predictions.h"

namespace chorus {

struct Spread {
  double mean = 0;
  double deviation = 0;  // of the sample: squares divided by count - 1; 0 for one value
  std::int64_t count = 0;
};

Spread spread(std::span<const double> values);

// One run: the predictions of one seed.
struct AnsweredRun {
  std::string name;
  std::vector<AnsweredUtterance> utterances;
};

// Sorts the utterances of each run by key. Throws DataError that names the first utterance that differs where two runs
// do not hold the same ones with the same gold labels.
void align(std::span<AnsweredRun> runs);

// One run whose score of each label is the mean of theirs: what several models think together. Each utterance is answered with
// the best label, by none where two are exactly alike. (A constant in all scores of a run, as that of a normalisation over
// labels, changes no answer.) The runs must be aligned. Throws DataError where one has no scores, or others' labels.
AnsweredRun combined(std::span<const AnsweredRun> runs, std::string name);

struct RunScores {
  std::string name;
  Scores scores;
  std::vector<CorpusScores> corpora;
};

// What several runs of one configuration reach, aligned.
struct RunGroup {
  std::vector<RunScores> runs;
  Spread weighted_f1, macro_f1, accuracy;
  Scores pooled;  // of the predictions of all runs together
};

// Throws Error for no runs.
RunGroup score_runs(std::span<const AnsweredRun> runs);

// Per run utterances, weighted F1, macro F1 and accuracy in percent, per corpus where there are several, and means
// with deviations where there are several runs.
std::string to_table(const RunGroup& group);
nlohmann::ordered_json to_json(const RunGroup& group);

struct BootstrapOptions {
  std::int64_t samples = 10000;
  std::uint64_t seed = 1;
};

// How sure it is that two configurations differ.
struct PairedBootstrap {
  double difference = 0;     // mean weighted F1 of the runs, less that of those compared with
  double low = 0, high = 0;  // between these lie 95 % of the resampled differences
  double p_value = 0;
  std::int64_t samples = 0;
};

// Paired bootstrap over utterances (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapters 13 and 16):
// each sample draws as many utterances as there are, with replacement, and asks all runs of both sides about the same
// ones; the interval is that of percentiles. The p value is of the form of Berg-Kirkpatrick, Burkett & Klein 2012 ("An
// Empirical Investigation of Statistical Significance in NLP", section 3): resampled differences lie around the observed
// one, d, instead of 0, so those count that are as far from d as d is from 0, here on both sides; with one added to
// counts, so that it is never 0. The seeds of a side are averaged in each sample: what a training's own chance
// contributes shows in the deviation of the runs, not here.
// All runs must be aligned. A pure function of its arguments.
PairedBootstrap paired_bootstrap(std::span<const AnsweredRun> runs, std::span<const AnsweredRun> against,
                                 const BootstrapOptions& options);

std::string to_text(const PairedBootstrap& comparison);
nlohmann::ordered_json to_json(const PairedBootstrap& comparison);

}  // namespace chorus
