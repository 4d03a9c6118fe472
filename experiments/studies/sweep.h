#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/scoring/dev_metric.h"
#include "experiments/studies/job.h"
#include "experiments/studies/study.h"

namespace chorus {

// An option of `train` that a sweep varies: over a list of values, or a range to draw from.
struct Dimension {
  std::string option;
  std::vector<std::string> values;  // empty: a range
  double low = 0, high = 0;
  bool logarithmic = false;
  bool operator==(const Dimension&) const = default;
};

// "lora-rank=4,8,16; learning-rate=log:1e-5..1e-3": lists after commas; a range LOW..HIGH, with log: its logarithm is
// what is drawn evenly. Throws ConfigurationError that begins with `origin`.
std::vector<Dimension> parse_dimensions(std::string_view text, const std::string& origin);

// One point of the search.
struct Trial {
  std::vector<std::string> values;  // of each dimension
  std::string name;                 // "lora-rank=4,learning-rate=1e-4"; also of folders
  bool operator==(const Trial&) const = default;
};

// Every combination, the last dimension fastest. Throws ConfigurationError for a range.
std::vector<Trial> grid_trials(const std::vector<Dimension>& dimensions);
// `count` different points, fewer where lists do not have so many. A pure function of the seed (Bergstra & Bengio 2012).
std::vector<Trial> random_trials(const std::vector<Dimension>& dimensions, std::size_t count,
                                 std::uint64_t seed);

struct SweepRequest {
  std::string base, data;
  std::filesystem::path output;
  std::vector<Dimension> dimensions;
  std::vector<Trial> trials;
  std::vector<std::uint64_t> seeds;
  CommandOptions train, evaluate;  // of all trials
  // Successive halving (Jamieson & Talwalkar 2016): in each of `rungs` rounds but the last, 1/`factor` of the epochs of
  // the next; the best 1/`factor` of the trials go on. Each round trains from the start, with a schedule of its own.
  int factor = 2, rungs = 1;
  // By which trials are compared: what the trainings say.
  DevMetric dev_metric = DevMetric::weighted_f1;
};

// Epochs of a round, counted from 0.
double epochs_of(const SweepRequest& request, int rung);

// Trainings of these trials in a round, seed after seed.
std::vector<Job> training_jobs(const SweepRequest& request, const std::vector<std::size_t>& trials, int rung);
// Scoring a trial of the last round on test: one job per seed, to run after its trainings.
std::vector<Job> test_jobs(const SweepRequest& request, std::size_t trial);

// What became of a trial.
struct TrialResult {
  std::size_t trial = 0;
  int rung = 0;  // the last round it was trained in
  std::vector<double>
      dev;  // of each seed that finished: the score of its best checkpoint, the larger the better
  std::size_t failed = 0;         // seeds whose training failed
  std::size_t stopped_early = 0;  // seeds whose training --patience ended
  std::vector<double> test;       // of each seed, where it is the best: weighted F1

  double mean_dev() const;  // -infinity unless every seed finished
};

// Best first: later rounds before earlier ones, then the mean on dev; the earlier trial of equals.
void rank(std::vector<TrialResult>& results);
// The trials that go on from a round.
std::vector<std::size_t> survivors(std::vector<TrialResult> results, int factor);

// Scores of the label that is most frequent in a split, answered everywhere: by `dev_metric` on dev, weighted F1 on test;
// nothing where there is no such split, or no label in it, and of a loss.
struct MajorityScores {
  std::optional<double> dev, test;
};
MajorityScores majority_scores(const std::filesystem::path& data, DevMetric dev_metric);

// All trials, best first, those marked that answer the majority label alone, and its scores; where two options have lists,
// the map of the one against the other.
std::string to_table(const SweepRequest& request, const std::vector<TrialResult>& ranked,
                     const MajorityScores& majority);
nlohmann::ordered_json to_json(const SweepRequest& request, const std::vector<TrialResult>& ranked,
                               const MajorityScores& majority);

}  // namespace chorus
