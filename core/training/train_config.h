#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/formats/model_writer.h"
#include "core/model/llama.h"
#include "core/scoring/dev_metric.h"
#include "core/training/schedule.h"
#include "data/sets/batches.h"
#include "ops/backend.h"

namespace chorus {

enum class Method { lora, full };

// Everything that decides what a training computes: the configurations of its parts, and what is the trainer's own. Options
// are bound to these fields, whose meaning and defaults `chorus train --help` prints.
struct TrainConfig {
  std::string base, data, output;
  std::string adapter;  // PEFT folder to start from where no checkpoint is resumed; empty: a fresh adapter
  std::string resume;   // checkpoint folder, or "auto" for the newest in `output`; empty: from the start
  bool extend =
      false;  // what is resumed may go on to more steps, or with more patience, than it was begun with

  Method method = Method::lora;
  LoraConfig lora;  // of Method::lora
  ProjectorConfig
      projector;       // where the data has features, which say its inputs; hidden 0: the model's width
  ModelOptions model;  // how it computes; see model_options()
  BatchOptions batches{.seed = 42};
  double epochs = 3;
  std::int64_t max_steps = 0;  // 0: what `epochs` says
  ScheduleConfig schedule;
  AdamWOptions adamw;          // without what every step has of its own
  double lora_plus_ratio = 1;  // of the learning rate of factors B to that of A
  double max_grad_norm = 1;    // 0: off

  std::int64_t logging_steps = 10;
  std::optional<std::int64_t> eval_steps;  // unset: after every epoch; 0: never
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

// The model that is trained on such data: `config.model` with what is trained of it and beside it, and the seed.
ModelOptions model_options(const TrainConfig& config, const FeatureTable& features, const ModelConfig& model);

// Optimizer steps of the whole run.
std::int64_t total_steps(const TrainConfig& config, const Epochs& epochs);

}  // namespace chorus
