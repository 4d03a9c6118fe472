#include "launch/commands/startable.h"

#include <filesystem>

#include <fmt/format.h>

#include "core/planning/memory_plan.h"
#include "data/text/files.h"
#include "experiments/planning/plan.h"
#include "launch/commands/training_files.h"
#include "launch/commands/training_options.h"

namespace chorus {
namespace {

void require_room(const TrainConfig& config, const TrainingFiles& files, const ProcessGrid& grid,
                  const Machine& machine) {
  PlanRequest request;
  request.model = files.base.config();
  request.train = config;
  request.machine = machine;
  request.ranks = {grid.size()};
  request.tensor_parallel = grid.tensor_size;
  request.sampled_steps = 1;
  const GridPlan plan = make_plan(request, files.train).grids.at(0);
  const auto gib = [](double bytes) { return bytes / (1 << 30); };
  require<ConfigurationError>(
      plan.fits,
      fmt::format(
          "a rank needs {:.1f} GiB, and {} has {:.1f}; less take --recompute some or all, --base-precision "
          "nf4, a larger --tensor-parallel or fewer --tokens-per-microbatch: see chorus plan "
          "--machine {}",
          gib(static_cast<double>(plan.memory.total()) + plan.beside.total()), machine.name,
          gib(machine.memory_bytes), machine.name));
}

}  // namespace

void require_startable(const Arguments& training, int ranks, const std::optional<Machine>& machine) {
  TrainConfig config;
  RuntimeOptions runtime;
  OptionTable table("train", "");
  add_training(table, config, runtime);
  require<ConfigurationError>(table.parse(training), "a training that asks for --help does not start");
  const TrainingFiles files = read_training_files(config, table);
  require_writable_place(std::filesystem::path(config.output) / "", "--output");  // itself, where it is there
  const ProcessGrid grid = make_grid(ranks, runtime.tensor_parallel, 0);
  const PassLimits limits{.tokens = config.batches.tokens_per_microbatch, .training = true};
  // Says whether tensors can be split so.
  plan_memory(files.base.config(), files.model_options(config), grid, limits);
  if (machine) require_room(config, files, grid, *machine);
}

}  // namespace chorus
