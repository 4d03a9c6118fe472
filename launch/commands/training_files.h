#pragma once

#include <optional>
#include <string>

#include "core/model/model.h"
#include "core/training/run_identity.h"
#include "launch/options/options.h"

namespace chorus {

// What a training reads.
struct TrainingFiles {
  std::optional<PeftAdapter> adapter;
  std::optional<SavedProjector> projector;
  BaseModel base;
  DataSplit train;
  std::optional<DataSplit> dev;
  std::string no_dev;  // why there is none

  // These must outlive it.
  TrainingInputs to_train() const;
  // The model that is trained on them.
  ModelOptions model_options(const TrainConfig& config) const;
  // Adapters and projector, whatever of both the model has.
  void load_or_initialise(Model& model) const;
};

// Everything that can be wrong with the input is found here. `config` gets what adapter and projector decide; `table` knows
// what was asked for instead.
TrainingFiles read_training_files(TrainConfig& config, const OptionTable& table);

}  // namespace chorus
