#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/formats/model_writer.h"
#include "core/model/llama.h"
#include "core/scoring/dev_metric.h"
#include "core/training/schedule.h"
#include "data/sets/batches.h"

namespace chorus {

enum class Method { lora, full };

// Everything that decides what a training computes. Field names are the option names with underscores; their
// meaning and defaults are printed by `chorus train --help`.
struct TrainConfig {
  std::string base, data, output;
  std::string adapter;  // PEFT folder to start from where no checkpoint is resumed; empty: a fresh adapter
  std::string resume;   // checkpoint folder, or "auto" for the newest in `output`; empty: from the start
  bool extend =
      false;  // what is resumed may go on to more steps, or with more patience, than it was begun with

  Method method = Method::lora;
  std::int64_t lora_rank = 16;
  double lora_alpha = 32;
  double lora_dropout = 0;
  std::string lora_targets = "all";
  bool rslora = false;
  double lora_plus_ratio = 1;  // of the learning rate of factors B to that of A
  LoraPatterns lora_patterns;  // of `adapter`; no option says them

  // Of the projector, which there is where the data has features.
  ProjectorKind projector = ProjectorKind::mlp;
  std::int64_t projector_hidden = 0;  // 0: the model's width

  double learning_rate = 2e-4;
  ScheduleKind schedule = ScheduleKind::cosine;
  double warmup_ratio = 0.05;
  std::optional<std::int64_t> warmup_steps;  // instead of the ratio
  std::int64_t batch_size = 32;              // samples per optimizer step, over all ranks
  std::int64_t tokens_per_microbatch = 2048;
  double epochs = 3;
  std::int64_t max_steps = 0;  // 0: what `epochs` says
  double weight_decay = 0;
  double max_grad_norm = 1;  // 0: off
  double adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8;
  std::uint64_t seed = 42;
  bool shuffle = true;
  bool prefix_sharing = true;

  DType precision = DType::f32;
  Quantisation base_precision = Quantisation::none;
  Recompute recompute = Recompute::none;
  bool sequence_parallel = false;
  int overlap_chunks = 1;

  std::int64_t logging_steps = 10;
  std::optional<std::int64_t> eval_steps;  // unset: once per epoch; 0: never
  DevMetric dev_metric = DevMetric::automatic;
  std::int64_t patience = 0;    // scorings of dev in a row without a better one after which it ends; 0: off
  std::int64_t save_steps = 0;  // 0: only at the end
  std::int64_t save_total_limit = 3;
  std::int64_t most_shard_bytes = largest_shard;  // of a file of --method full
  double max_time = 0;  // seconds after which a checkpoint is written and the run ends; 0: no limit
  std::int64_t check_replicas = 0;  // steps between two comparisons of what ranks hold alike; 0: none
  bool log_tensor_norms = false;
  bool tensorboard = false;
};

// Throws ConfigurationError where options contradict each other.
void validate(const TrainConfig& config);

LoraConfig lora_config(const TrainConfig& config);
// The projector for rows of so many features, if any.
std::optional<ProjectorConfig> projector_config(const TrainConfig& config, const FeatureTable& features,
                                                const ModelConfig& model);
// Without projector.
ModelOptions model_options(const TrainConfig& config);
// What the steps have in common.
AdamWOptions adamw_options(const TrainConfig& config);
BatchOptions batch_options(const TrainConfig& config, int data_ranks);

// Optimizer steps of the whole run, and its learning rates.
std::int64_t total_steps(const TrainConfig& config, std::int64_t steps_per_epoch);
Schedule make_schedule(const TrainConfig& config, std::int64_t total_steps);

}  // namespace chorus
