#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

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

}  // namespace chorus
