#include "launch/commands/training_files.h"

#include <filesystem>

#include "data/text/text.h"
#include "launch/commands/model_setup.h"

namespace chorus {

namespace {

// The adapter's own configuration wins over the defaults, but not silently over what was asked for. Only
// dropout, which is of the training, stays an option.
void adopt_adapter(const LoraConfig& saved, const OptionTable& table, TrainConfig& config) {
  LoraConfig& lora = config.lora;
  const auto agree = [&](const char* option, bool same) {
    require<ConfigurationError>(same || !table.changed(option), "--", option,
                                " differs from that of --adapter ", config.adapter, ": leave it out");
  };
  agree("lora-rank", lora.rank == saved.rank);
  agree("lora-alpha", lora.alpha == saved.alpha);
  agree("lora-targets", lora.targets == saved.targets);
  agree("rslora", lora.rslora == saved.rslora);
  const double dropout = table.changed("lora-dropout") ? lora.dropout : saved.dropout;
  lora = saved;
  lora.dropout = dropout;
}

// A projector that lies beside the adapter, or beside a base of --method full, wins in the same way.
void adopt_projector(const ProjectorConfig& saved, const std::string& folder, const OptionTable& table,
                     TrainConfig& config) {
  const std::int64_t hidden = config.projector.hidden;
  require<ConfigurationError>(!table.changed("projector") || config.projector.kind == saved.kind,
                              "--projector differs from that in ", folder, ", ", name(saved.kind),
                              ": leave it out");
  require<ConfigurationError>(!table.changed("projector-hidden") || hidden == 0 || hidden == saved.hidden,
                              "--projector-hidden ", hidden, " differs from that in ", folder, ", ",
                              saved.hidden, ": leave it out");
  config.projector = saved;
}

// A base or an adapter of text alone gets a fresh projector.
std::optional<SavedProjector> projector_to_start_from(TrainConfig& config, const OptionTable& table,
                                                      const DataSplit& train, const BaseModel& base) {
  const std::string& folder = config.adapter.empty() ? config.base : config.adapter;
  if (!find_projector(folder)) return std::nullopt;
  std::optional<SavedProjector> projector = projector_for(folder, train, base);
  adopt_projector(projector->config, folder, table, config);
  return projector;
}

}  // namespace

TrainingInputs TrainingFiles::to_train() const {
  return {base, train, dev, adapter ? &*adapter : nullptr, projector ? &*projector : nullptr};
}

ModelOptions TrainingFiles::model_options(const TrainConfig& config) const {
  return chorus::model_options(config, train.features(), base.config());
}

void TrainingFiles::load_or_initialise(Model& model) const {
  if (adapter) {
    model.adapters().load(*adapter);
  } else if (model.options().lora) {
    model.adapters().initialise();
  }
  if (projector) {
    model.load_projector(*projector);
  } else if (model.options().projector) {
    model.initialise_projector();
  }
}

TrainingFiles read_training_files(TrainConfig& config, const OptionTable& table) {
  std::optional<PeftAdapter> adapter;
  if (!config.adapter.empty()) {
    adapter.emplace(read_peft(config.adapter));
    adopt_adapter(adapter->config, table, config);
  }
  validate(config);
  BaseModel base(config.base);
  DataSplit train = open_split(config.data, "train", base);
  std::optional<DataSplit> dev;
  if (!find_split(config.data, "dev").files.empty()) {
    dev = open_split(config.data, "dev", base);
    require<DataError>(dev->features().width == train.features().width, config.data,
                       ": the rows of features have ", train.features().width, " numbers in train.h5 and ",
                       dev->features().width, " in dev.h5");
  }
  std::string no_dev;
  if (!dev) {
    no_dev = fmt::format("there is no dev split in {}, only {}", config.data,
                         joined(splits_of(config.data), ", "));
  } else if (dev->utterances() > 0 && !dev->has_gold()) {
    no_dev = fmt::format("the dev split in {} has no gold labels", config.data);
    dev.reset();
  }
  if (dev && config.eval_steps != 0) resolve(config.dev_metric, *dev);
  require<ConfigurationError>(dev || (config.patience == 0 && config.dev_metric == DevMetric::automatic),
                              no_dev, ", and ", config.patience > 0 ? "--patience" : "--dev-metric",
                              " is of its scorings: leave it out");
  std::optional<SavedProjector> projector = projector_to_start_from(config, table, train, base);
  return {std::move(adapter), std::move(projector), std::move(base),
          std::move(train),   std::move(dev),       no_dev};
}

}  // namespace chorus
