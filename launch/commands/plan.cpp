#include "experiments/planning/plan.h"

#include <filesystem>
#include <map>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "core/formats/base_model.h"
#include "data/text/files.h"
#include "experiments/planning/benchmark.h"
#include "experiments/planning/stopwatch.h"
#include "launch/commands/commands.h"
#include "launch/commands/model_setup.h"
#include "launch/commands/training_options.h"
#include "launch/options/option_value.h"
#include "launch/process/console.h"
#include "launch/process/device.h"
#include "launch/process/version.h"

namespace chorus::command {

namespace {

struct Options {
  std::string model, grids, machine = "a100-80";
  std::vector<std::string> ranks{"1", "2", "4", "8"};
  std::optional<int> tensor_parallel;
  std::int64_t sequence_length = 512, targets_per_sample = 8, steps = 8;
  std::optional<std::int64_t> samples;
  TrainConfig train;
};

// The ceilings of this machine's CPU, by a second of work. How ranks exchange is not measured (`chorus doctor` does).
Machine measure_this_machine(DType precision) {
  IdleCommunicator solo;
  const Groups groups{make_grid(1, 1, 0), solo, solo, solo};
  const int threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const std::unique_ptr<Device> device = open_cpu(threads, groups);
  Ceilings ceilings;
  const auto measure = [&](Backend& backend, Communicator& world, Arena& arena, double seconds) {
    ceilings = measure_ceilings(backend, world, arena, precision, 1024, seconds);
  };
  Arena arena(device->backend(), memory_of(measure, 1), "measuring");
  measure(device->backend(), solo, arena, 0.1);
  Machine machine;
  machine.name = fmt::format("this machine's CPU, {} threads", threads);
  machine.sources = "measured; links are assumed to carry a quarter of the memory's rate";
  machine.gpu = false;
  machine.memory_bytes =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  machine.bf16_flops = machine.f32_flops = ceilings.matmul_flops_per_second;
  machine.memory_bytes_per_second = ceilings.copy_bytes_per_second;
  machine.call_seconds = 5e-6;
  machine.gpus_per_node = 1024;
  machine.node_link = machine.network = {ceilings.copy_bytes_per_second / 4, 2e-6};
  return machine;
}

std::vector<int> parse_ranks(const std::vector<std::string>& words) {
  std::vector<int> ranks;
  for (const std::string& word : words) {
    int value = 0;
    require<ConfigurationError>(option_value::read(word, value) && value >= 1, "--ranks: '", word,
                                "' is not a number of ranks: write some like 1,2,4,8");
    ranks.push_back(value);
  }
  require<ConfigurationError>(!ranks.empty(), "--ranks names no number of ranks");
  return ranks;
}

// The weights in the base's files where they are there; else they are taken to be stored as they are computed with.
StoredWeights stored_weights(const Options& options, const ModelConfig& model) {
  if (!options.train.base.empty() && has_weights(options.train.base)) {
    return [base = BaseModel(options.train.base)](const std::string& name) { return base.tensor(name); };
  }
  const FileDType dtype = options.train.model.precision == DType::bf16 ? FileDType::bf16 : FileDType::f32;
  std::map<std::string, TensorView> tensors;
  for (const ModelTensor& tensor : model_tensors(model))
    tensors[tensor.name] = {tensor.name, dtype, tensor.shape};
  return [tensors = std::move(tensors)](const std::string& name) { return tensors.at(name); };
}

PlanRequest request_of(const Options& options) {
  require<ConfigurationError>(options.model.empty() != options.train.base.empty(),
                              "give the model either by --base FOLDER or by --model 7b");
  PlanRequest request;
  request.train = options.train;
  request.model =
      options.model.empty() ? read_model_config(options.train.base) : benchmark_model(options.model);
  request.ranks = parse_ranks(options.ranks);
  request.tensor_parallel = options.tensor_parallel;
  request.sampled_steps = options.steps;
  request.samples_per_epoch = options.samples;
  request.machine = options.machine == "this" ? measure_this_machine(options.train.model.precision)
                                              : load_machine(options.machine);
  if (!request.machine.gpu) request.in_place = stored_weights(options, request.model);
  return request;
}

// The prepared data, or one step of equal samples.
DataSplit data_of(const Options& options, const ModelConfig& model) {
  if (!options.train.data.empty()) return DataSplit(required_split(options.train.data, "train"));
  require<ConfigurationError>(options.targets_per_sample <= options.sequence_length, "--targets-per-sample ",
                              options.targets_per_sample, " is more than the --sequence-length of ",
                              options.sequence_length);
  require<ConfigurationError>(options.sequence_length <= model.longest_text(), "--sequence-length ",
                              options.sequence_length, " is too long: the model has ",
                              model.bound_of_texts());
  return even_dataset(options.train.batches.batch_size, options.sequence_length, options.targets_per_sample,
                      model.vocabulary_size);
}

nlohmann::ordered_json to_json(const GridPlan& grid) {
  return {{"ranks", grid.ranks},
          {"tensor_parallel", grid.tensor},
          {"fits", grid.fits},
          {"planned_bytes", grid.memory.total()},
          {"bytes_beside", grid.beside.total()},
          {"step_seconds", grid.step_seconds},
          {"step_tokens", grid.step_tokens},
          {"step_flops", grid.step_flops},
          {"tensor_group_seconds", grid.microbatches.tensor_seconds + grid.update.tensor_seconds},
          {"gradient_seconds", grid.update.gradient_seconds},
          {"idle_seconds", grid.idle_seconds},
          {"tensor_group_bytes", grid.microbatches.tensor_bytes + grid.update.tensor_bytes},
          {"gradient_bytes", grid.update.gradient_bytes},
          {"tokens_per_second_and_rank", grid.step_tokens / grid.step_seconds / grid.ranks},
          {"mfu", grid.peak_share},
          {"epoch_seconds", grid.epoch_seconds},
          {"run_seconds", grid.run_seconds},
          {"rank_hours", grid.device_hours}};
}

ExitCode run(const Options& options) {
  if (!options.grids.empty()) begin_file(options.grids, "--grids");
  const PlanRequest request = request_of(options);
  const Plan plan = make_plan(request, data_of(options, request.model));
  Console().print(to_table(plan));
  if (!options.grids.empty()) {
    nlohmann::ordered_json grids = nlohmann::ordered_json::array();
    for (const GridPlan& grid : plan.grids) grids.push_back(to_json(grid));
    const nlohmann::ordered_json all{
        {"version", version()}, {"machine", request.machine.name}, {"grids", grids}};
    write_file_atomically(options.grids, all.dump(2) + "\n");
  }
  return ExitCode::done;
}

void add_work(OptionTable& table, Options& options) {
  TrainConfig& c = options.train;
  table.group("What is trained");
  table
      .add("base", c.base, "Hugging Face folder; of its weights, if there are any, only the headers are read")
      .shown_as("DIR");
  table.add("model", options.model, "instead of a base: tiny, 15m, 110m, 1b, 7b or 13b");
  table.add("data", c.data, "folder that `chorus prepare` wrote; none: equal samples").shown_as("DIR");
  table.add("sequence-length", options.sequence_length, "of equal samples, in tokens").at_least(1);
  table.add("targets-per-sample", options.targets_per_sample, "learned tokens of equal samples").at_least(1);
  table.add("samples", options.samples, "per epoch; none: those of the data, or one step of equal ones")
      .at_least(1);
  table.group("Training");
  add_method_choice(table, c.method);
  add_adapters(table, c.lora);
  add_projector(table, c.projector);
  add_batches(table, c);
  add_order(table, c.batches);
}

void add_machine(OptionTable& table, Options& options) {
  TrainConfig& c = options.train;
  table.group("Machine and grids");
  table.add("machine", options.machine,
            "a100-40, a100-80, h100, h200, l40s, a JSON file, or this: the CPU, measured");
  table.add("ranks", options.ranks, "numbers of ranks to plan for");
  table
      .add("tensor-parallel", options.tensor_parallel,
           "ranks that share one copy of the base; none: all that work")
      .at_least(1);
  add_precision(table, c.model);
  add_division_of_work(table, c.model);
  table.add("steps", options.steps, "of the first epoch that are looked at").at_least(1);
  table.add("grids", options.grids, "also write the grids as JSON").shown_as("FILE");
}

}  // namespace

ExitCode plan(const Arguments& arguments) {
  Options options;
  options.train.model.precision = DType::bf16;
  OptionTable table("plan", "tells memory, time and cost of a training on machines that need not be there");
  add_work(table, options);
  add_machine(table, options);
  pass_over_training(table);  // which is planned by its configuration
  if (!table.parse(arguments)) return ExitCode::done;
  return run(options);
}

}  // namespace chorus::command
