#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/formats/base_model.h"
#include "core/formats/peft.h"
#include "core/model/projector.h"
#include "core/training/train_config.h"
#include "data/sets/data_split.h"

namespace chorus {

// What a training reads. All must outlive it.
struct TrainingInputs {
  const BaseModel& base;
  DataSplit train;
  std::optional<DataSplit> dev = {};
  // What it starts from where no checkpoint is resumed.
  const PeftAdapter* adapter = nullptr;
  const SavedProjector* projector = nullptr;
  // content_identity() of all this, where it is known already: to hash much data takes a while.
  const nlohmann::ordered_json* content = nullptr;
};

// What a run and its continuation must agree on for the continuation to be the same run: the options that change results,
// by their names, and what is read, by content. Not in it is what only changes rounding, place or speed (grid, threads,
// micro-batches, sharing of prefixes, recomputation), and what is written.
nlohmann::ordered_json run_identity(const TrainConfig& config, const TrainingInputs& inputs,
                                    const Schedule& schedule, std::int64_t eval_steps);

// The content of what a training reads; that of dev also where nothing is scored.
nlohmann::ordered_json content_identity(const TrainingInputs& inputs);

// "learning-rate was 0.1 and is now 0.2", for everything that differs. Of what a checkpoint without a version kept, only
// that is compared. A run that `extends` the former may have more steps, with another warm-up, and more patience.
std::vector<std::string> differences(nlohmann::json then, const nlohmann::ordered_json& now,
                                     bool extends = false);

// OUTPUT/run.json: the run that a folder belongs to, from its start on. Nothing where there is none.
void write_identity(const std::filesystem::path& output, const nlohmann::ordered_json& identity);
std::optional<nlohmann::json> read_identity(const std::filesystem::path& output);

// "", or a line that says that a checkpoint knows less of its run than this version would.
std::string remark_on_identity(const nlohmann::json& then, const std::string& checkpoint);

}  // namespace chorus
