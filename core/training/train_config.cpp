#include "core/training/train_config.h"

#include <algorithm>
#include <cmath>

namespace chorus {

void validate(const TrainConfig& config) {
  require<ConfigurationError>(
      config.method == Method::lora || config.adapter.empty(),
      "--adapter starts from a LoRA adapter, but --method is full: leave one of them out");
  require<ConfigurationError>(!config.extend || !config.resume.empty(),
                              "--extend is of a run that goes on: add --resume auto, or leave it out");
  require<ConfigurationError>(config.max_steps > 0 || config.epochs > 0,
                              "nothing to train: both --epochs and --max-steps are 0");
  const bool scores_dev = config.eval_steps != 0;
  require<ConfigurationError>(config.patience == 0 || scores_dev, "--patience ", config.patience,
                              " counts scorings of dev, and --eval-steps 0 has none: leave one of them out");
  require<ConfigurationError>(config.dev_metric == DevMetric::automatic || scores_dev, "--dev-metric ",
                              name(config.dev_metric),
                              " is of scorings of dev, and --eval-steps 0 has none: leave one of them out");
  require<ConfigurationError>(
      config.projector == ProjectorKind::mlp || config.projector_hidden == 0,
      "--projector-hidden is the width between two layers, and --projector linear has one: ",
      "leave one of them out");
  require<ConfigurationError>(config.method == Method::lora || config.lora_plus_ratio == 1,
                              "--lora-plus-ratio ", config.lora_plus_ratio,
                              " is of the factors of adapters: leave it out of --method full");
  require<ConfigurationError>(config.method == Method::lora || config.base_precision == Quantisation::none,
                              "--base-precision ", name(config.base_precision),
                              " is of a frozen base: leave it out of --method full");
  require<ConfigurationError>(
      config.method == Method::lora || !config.sequence_parallel,
      "--sequence-parallel works with a frozen base only: leave it out of --method full");
  require<ConfigurationError>(
      config.overlap_chunks == 1 || !config.sequence_parallel,
      "--overlap-chunks splits the all-reduces that --sequence-parallel does without: leave one of "
      "them out");
}

LoraConfig lora_config(const TrainConfig& config) {
  LoraConfig lora;
  lora.rank = config.lora_rank;
  lora.alpha = config.lora_alpha;
  lora.dropout = config.lora_dropout;
  lora.rslora = config.rslora;
  lora.targets = parse_targets(config.lora_targets);
  lora.patterns = config.lora_patterns;
  return lora;
}

std::optional<ProjectorConfig> projector_config(const TrainConfig& config, const FeatureTable& features,
                                                const ModelConfig& model) {
  if (features.width == 0) return std::nullopt;
  ProjectorConfig projector{config.projector, features.width, 0};
  if (config.projector == ProjectorKind::mlp)
    projector.hidden = config.projector_hidden > 0 ? config.projector_hidden : model.hidden_size;
  return projector;
}

ModelOptions model_options(const TrainConfig& config) {
  ModelOptions options;
  options.precision = config.precision;
  options.base_precision = config.base_precision;
  if (config.method == Method::lora) options.lora = lora_config(config);
  options.train_base = config.method == Method::full;
  options.recompute = config.recompute;
  options.seed = config.seed;
  options.sequence_parallel = config.sequence_parallel;
  options.overlap_chunks = config.overlap_chunks;
  return options;
}

AdamWOptions adamw_options(const TrainConfig& config) {
  AdamWOptions options;
  options.beta1 = config.adam_beta1;
  options.beta2 = config.adam_beta2;
  options.epsilon = config.adam_epsilon;
  options.weight_decay = config.weight_decay;
  return options;
}

BatchOptions batch_options(const TrainConfig& config, int data_ranks) {
  return {.batch_size = config.batch_size,
          .tokens_per_microbatch = config.tokens_per_microbatch,
          .data_ranks = data_ranks,
          .shuffle = config.shuffle,
          .seed = config.seed,
          .prefix_sharing = config.prefix_sharing};
}

std::int64_t total_steps(const TrainConfig& config, std::int64_t steps_per_epoch) {
  if (config.max_steps > 0) return config.max_steps;
  const double steps = std::ceil(config.epochs * static_cast<double>(steps_per_epoch) - 1e-9);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(steps));
}

Schedule make_schedule(const TrainConfig& config, std::int64_t total) {
  const auto by_ratio =
      static_cast<std::int64_t>(std::ceil(config.warmup_ratio * static_cast<double>(total)));
  Schedule schedule;
  schedule.kind = config.schedule;
  schedule.peak = config.learning_rate;
  schedule.warmup_steps = config.warmup_steps.value_or(std::min(by_ratio, total));
  schedule.total_steps = total;
  validate(schedule);
  return schedule;
}

}  // namespace chorus
