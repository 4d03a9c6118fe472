#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/model/flops.h"
#include "core/planning/memory_kinds.h"
#include "core/training/train_config.h"
#include "data/sets/data_split.h"
#include "experiments/planning/machine.h"
#include "experiments/planning/priced_run.h"

namespace chorus {

struct PlanRequest {
  ModelConfig model;
  TrainConfig train;  // what `chorus train` would be asked
  Machine machine;
  std::vector<int> ranks;                         // how many to look at
  std::optional<int> tensor_parallel;             // unset: 1, 2, 4, … as the model and a node allow
  std::int64_t sampled_steps = 8;                 // of the first epoch, evenly spread
  std::optional<std::int64_t> samples_per_epoch;  // unset: those of the data set
  ModelOptions options;                           // of the model that is trained; set by make_plan()
  StoredWeights in_place;                         // what a rank would read where it is stored; none on GPUs
};

// What a pass over the data computes.
struct EpochWork {
  double samples = 0, steps = 0;
  double tokens = 0, rows = 0, pairs = 0;
  double flops = 0;  // by training_flops()
};

// Memory of one rank beside the arenas of a run, in bytes.
struct MemoryBeside {
  double workspace = 0;      // of the backend
  double tile_lists = 0;     // of attention, of the largest micro-batch looked at
  double communicators = 0;  // assumed by the machine's description
  double reserved = 0;       // assumed by the machine's description
  double total() const { return workspace + tile_lists + communicators + reserved; }
};

// One way to divide the work.
struct GridPlan {
  int ranks = 1, data = 1, tensor = 1;
  MemoryKinds memory;
  MemoryBeside beside;
  bool fits = false;
  // Means over the steps looked at, of the data rank that has most to do.
  Price microbatches, update;
  double idle_seconds = 0;  // by which a mean rank waits for that one
  double step_seconds = 0;
  double step_tokens = 0, step_unshared_tokens = 0, step_flops = 0;
  double epoch_seconds = 0, run_seconds = 0;
  double device_hours = 0;  // of the whole run
  double peak_share = 0;    // model FLOPs over the peak of all ranks (MFU)
  int ranks_looked_at = 1;  // data ranks of each step
};

struct Plan {
  PlanRequest request;
  EpochWork shared, unshared;
  double epochs = 0;
  std::vector<GridPlan> grids;
  // Indices into `grids` of those that fit: least device hours, and least time.
  std::optional<std::size_t> cheapest, fastest;
};

// Plans every grid by running the code of memory plans, batches and steps on backends that compute nothing. Throws
// ConfigurationError where the options cannot work, or no grid is left to look at.
Plan make_plan(const PlanRequest& request, const DataSplit& data);

// Equal samples that share nothing, the last `targets` tokens of which are learned.
Dataset even_dataset(std::int64_t samples, std::int64_t length, std::int64_t targets,
                     std::int64_t vocabulary);

// plan_table.cpp. What is printed: work, grids, the memory of the grid that `chosen` names, assumptions.
std::string to_table(const Plan& plan);
std::string memory_table(const GridPlan& grid, const Machine& machine);

}  // namespace chorus
