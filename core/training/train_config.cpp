#include "core/training/train_config.h"

#include <algorithm>

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
      config.projector.kind == ProjectorKind::mlp || config.projector.hidden == 0,
      "--projector-hidden is the width between two layers, and --projector linear has one: ",
      "leave one of them out");
  require<ConfigurationError>(config.method == Method::lora || config.lora_plus_ratio == 1,
                              "--lora-plus-ratio ", config.lora_plus_ratio,
                              " is of the factors of adapters: leave it out of --method full");
  require<ConfigurationError>(
      config.method == Method::lora || config.model.base_precision == Quantisation::none, "--base-precision ",
      name(config.model.base_precision), " is of a frozen base: leave it out of --method full");
  require<ConfigurationError>(
      config.method == Method::lora || !config.model.sequence_parallel,
      "--sequence-parallel works with a frozen base only: leave it out of --method full");
  require<ConfigurationError>(
      config.model.overlap_chunks == 1 || !config.model.sequence_parallel,
      "--overlap-chunks splits the all-reduces that --sequence-parallel does without: leave one of "
      "them out");
}

ModelOptions model_options(const TrainConfig& config, const FeatureTable& features,
                           const ModelConfig& model) {
  ModelOptions options = config.model;
  options.seed = config.batches.seed;
  options.train_base = config.method == Method::full;
  if (config.method == Method::lora) options.lora = config.lora;
  if (features.width > 0) {
    options.projector = config.projector;
    options.projector->inputs = features.width;
    if (config.projector.kind == ProjectorKind::mlp && config.projector.hidden == 0)
      options.projector->hidden = model.hidden_size;
  }
  return options;
}

std::int64_t total_steps(const TrainConfig& config, const Epochs& epochs) {
  return config.max_steps > 0 ? config.max_steps : std::max<std::int64_t>(1, epochs.steps_of(config.epochs));
}

}  // namespace chorus
