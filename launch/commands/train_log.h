#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/training/trainer.h"
#include "data/text/files.h"
#include "launch/commands/event_file.h"
#include "launch/process/console.h"
#include "parallel/activity.h"

namespace chorus {

// Shows a training on the console and writes OUTPUT/trainer_log.jsonl, with --tensorboard also the same numbers into
// OUTPUT/tensorboard. Only the first rank has one that does.
class TrainLog : public TrainingObserver {
 public:
  // `writes`: false on the other ranks. `start` is where the training goes on: entries of later steps are removed.
  // `memory_in_use`, in bytes, is told for people with each line; `activity`, on all ranks, what is done. `peak_flops` per
  // second are those of all ranks together; 0: not known.
  TrainLog(const TrainConfig& config, Console& console, bool writes, const TrainingState& start,
           std::function<std::int64_t()> memory_in_use, Activity& activity, double peak_flops);

  void step_done(const StepReport& report, std::int64_t total_steps) override;
  void evaluated(const TrainingState& state, const Evaluation& evaluation,
                 const DevVerdict& verdict) override;
  void evaluating(std::int64_t done, std::int64_t total) override;

 private:
  void append(const nlohmann::ordered_json& entry);
  void begin_interval();
  void print_step(const StepReport& report, std::int64_t total_steps, double remaining_seconds);

  const TrainConfig& config_;
  Console& console_;
  std::optional<AppendedFile> file_;
  std::optional<EventFile> events_;
  TrainingState start_;
  std::function<std::int64_t()> memory_in_use_;
  Activity& activity_;
  double peak_flops_;
  std::int64_t session_tokens_ = 0, lines_ = 0;
  double session_seconds_ = 0;
  // Since the last line.
  std::int64_t tokens_ = 0, unshared_tokens_ = 0, steps_ = 0;
  double seconds_ = 0, data_seconds_ = 0, communication_seconds_ = 0, flops_ = 0;
};

}  // namespace chorus
