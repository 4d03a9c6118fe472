#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "core/scoring/dev_metric.h"

namespace chorus {

// How far a training is that another process runs, by the last lines of its log.
struct TrainingProgress {
  std::int64_t step = 0, total_steps = 0;
  double loss = 0;
  double remaining_seconds = 0;
  std::optional<double> dev_f1;  // weighted, 0 to 1, of the last scoring
};

// Nothing as long as OUTPUT/trainer_log.jsonl tells of no step. Lines that are cut or of another kind are passed over.
std::optional<TrainingProgress> read_progress(const std::filesystem::path& output);

// How a training ended that OUTPUT/train_results.json tells of.
struct TrainingEnd {
  DevMetric dev_metric = DevMetric::automatic;  // automatic: dev was not scored
  std::optional<double> dev;                    // the best score by it, the larger the better
  bool finished = false, stopped_early = false;
  std::int64_t steps = 0, total_steps = 0;  // total_steps: 0 of older versions
  std::optional<std::int64_t> best_step;
};
// Throws DataError for a file that is damaged or not there.
TrainingEnd read_training_end(const std::filesystem::path& output);

}  // namespace chorus
