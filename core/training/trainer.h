#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/model/flops.h"
#include "core/scoring/evaluator.h"
#include "core/training/checkpoint.h"
#include "core/training/run_identity.h"
#include "core/training/train_config.h"
#include "core/training/training_step.h"
#include "parallel/interruption.h"
#include "parallel/timed_communicator.h"

namespace chorus {

// What one optimizer step did. Equal on all ranks, times apart.
struct StepReport {
  std::int64_t step = 0;     // updates done, this one included
  double epoch = 0;          // passes over the data, as a fraction
  double loss = 0;           // weighted mean over the step's supervised tokens, before the update
  double gradient_norm = 0;  // global, before clipping
  double learning_rate = 0;
  std::int64_t tokens = 0, unshared_tokens = 0;  // computed; needed without prefix sharing
  double flops = 0;                              // of all ranks
  double seconds = 0, data_seconds = 0, communication_seconds = 0;
  std::map<std::string, double> tensor_norms;  // of every trained tensor's gradient, with log_tensor_norms
};

// What a whole run did.
struct TrainingSummary {
  TrainingState state;
  double last_loss = 0;
  double seconds = 0;  // of this session
  std::int64_t tokens = 0, unshared_tokens = 0;
  bool finished = false;       // false: stopped before its end, with a checkpoint
  bool stopped_early = false;  // finished before its last step, by --patience
  bool interrupted = false;    // by a request to stop, and not by --max-time
};

// What a scoring of dev means for the training.
struct DevVerdict {
  bool is_best = false;
  bool ends_training = false;  // before its last step, by --patience
};

// What the trainer tells while it runs. Called on every rank; the launch folder prints on one.
class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;
  virtual void step_done(const StepReport& report, std::int64_t total_steps) = 0;
  virtual void evaluated(const TrainingState& state, const Evaluation& evaluation,
                         const DevVerdict& verdict) = 0;
  virtual void evaluating(std::int64_t done, std::int64_t total) = 0;
};

// Memory and ranks that a training runs on. The model must have been made with the same groups.
struct TrainingResources {
  TimedGroups& groups;
  Arena& optimizer_arena;
  Arena& activations;
  StopRequested stop_requested = {};
};

// Trains a model, which must be loaded and initialised before the first of its members is called. All of them are
// collective.
class Trainer {
 public:
  // All references must outlive the trainer.
  Trainer(const TrainConfig& config, const TrainingInputs& inputs, Model& model,
          const TrainingResources& resources);

  // Continues from a checkpoint. Nothing in OUTPUT is changed before run(). Returns what is to be told, in lines.
  std::vector<std::string> resume(const std::filesystem::path& checkpoint);
  // One optimizer step. Throws Interrupted, on all ranks, within one micro-batch of a request to stop: what the step
  // has computed is thrown away, and the trainer is as it was before.
  StepReport step();
  // What ranks hold differently of the model and its moments, after the last step: the free function of this name says it.
  std::string differing_replicas();
  // Steps, evaluations and checkpoints until the end, which is the last step or the end of --patience; then OUTPUT holds the
  // best model on dev, or the last one where there is nothing to choose by. After a request to stop: until a checkpoint of the
  // last completed step is written.
  // Throws DataError where losses, scores of dev or trained weights are not finite any more.
  TrainingSummary run(TrainingObserver& observer);

  std::int64_t total_steps() const { return schedule_.total_steps; }
  const Schedule& schedule() const { return schedule_; }
  const TrainingState& state() const { return state_; }
  // What scorings of dev are compared by, where there are any.
  DevMetric dev_metric() const { return dev_metric_; }
  const nlohmann::ordered_json& identity() const { return identity_; }

 private:
  // Weighted sum of log probabilities of this rank's micro-batches; gradients are added.
  double accumulate(const Batches::Step& batch);
  // Keeps where more steps were added to those of the run that a checkpoint is of. Returns "", or what that does to the
  // learning rate.
  std::string note_extension(const nlohmann::json& former);
  double sum_over_data_ranks(double value);
  StepWork work_of(const Batches::Step& batch);
  void update(double gradient_norm, double learning_rate);
  bool scores_dev_after(std::int64_t step) const;
  // Until the end, or out of time; `summary` gets what the steps did.
  void take_steps(TrainingObserver& observer, TrainingSummary& summary);
  void evaluate_and_keep_best(TrainingObserver& observer);
  // Throws DataError, on all ranks: what the last update left behind is not written as if it were a model.
  void require_finite_weights() const;
  // Throws DataError, on all ranks, where they differ in what they must hold alike. Looks once after a step, and only with
  // --check-replicas.
  void require_equal_replicas();
  void save();
  bool out_of_patience() const {
    return config_.patience > 0 && state_.scorings_since_best >= config_.patience;
  }
  bool is_over() const { return state_.step == total_steps() || out_of_patience(); }
  bool out_of_time(double elapsed);

  const TrainConfig& config_;
  std::optional<DataSplit> dev_;
  Model& model_;
  Arena& activations_;
  TimedGroups& timed_groups_;
  Groups groups_;
  Batches batches_;
  Schedule schedule_;
  TrainingStep step_;
  CheckpointStore store_;
  std::int64_t eval_steps_;
  DevMetric dev_metric_;
  nlohmann::ordered_json identity_;
  StopRequested stop_requested_;
  TrainingState state_;
  std::optional<std::filesystem::path> resumed_from_;
  std::int64_t saved_at_ = -1;     // step whose checkpoint is on disk as it should be
  std::int64_t compared_at_ = -1;  // step after which ranks were found to hold the same
};

}  // namespace chorus
