#include <nlohmann/json.hpp>

#include "data/text/files.h"
#include "experiments/planning/benchmark.h"
#include "launch/commands/commands.h"
#include "launch/commands/model_setup.h"
#include "launch/process/version.h"

namespace chorus::command {

namespace {

struct Options {
  std::string model = "tiny", output;
  std::optional<std::int64_t> layers;
  std::int64_t tokens = 512, sequence_length = 256, targets_per_sequence = 16, lora_rank = 16, matrix = 1024;
  double lora_dropout = 0;
  bool operators = true, step = true;
  double least_seconds = 0.2;
  DType precision = DType::f32;
  RuntimeOptions runtime;
};

nlohmann::ordered_json to_json(const std::vector<Measurement>& measurements, const Ceilings& ceilings) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Measurement& m : measurements) {
    list.push_back({{"group", m.group},
                    {"name", m.name},
                    {"shape", m.shape},
                    {"seconds", m.seconds},
                    {"bytes", m.bytes},
                    {"flops", m.flops}});
  }
  return {{"version", std::string(version())},
          {"copy_bytes_per_second", ceilings.copy_bytes_per_second},
          {"matmul_flops_per_second", ceilings.matmul_flops_per_second},
          {"measurements", list}};
}

int run(const Options& options, const OptionTable& table, const MakeRuntime& make_runtime) {
  BenchmarkShape shape{.model = benchmark_model(options.model),
                       .precision = options.precision,
                       .tokens = options.tokens,
                       .sequence_length = options.sequence_length,
                       .targets_per_sequence = options.targets_per_sequence,
                       .lora_rank = options.lora_rank,
                       .lora_dropout = options.lora_dropout};
  if (options.layers) shape.model.layers = *options.layers;
  const std::unique_ptr<Runtime> runtime = make_runtime(options.runtime, facts_of(table, {"output"}));
  if (!options.output.empty() && runtime->is_first()) begin_file(options.output, "--output");
  Console& console = runtime->console();
  Backend& backend = runtime->backend();
  console.print(fmt::format("{}; {} with {} layers, {}, {} tokens a rank\n",
                            runtime->description(shape.precision), options.model, shape.model.layers,
                            name(shape.precision), shape.tokens));

  std::vector<Measurement> measurements;
  const auto add = [&](const std::vector<Measurement>& more) {
    measurements.insert(measurements.end(), more.begin(), more.end());
  };
  Ceilings ceilings;
  const auto measure = [&](Backend& on, Communicator& world, Arena& arena, double least_seconds) {
    ceilings = measure_ceilings(on, world, arena, shape.precision, options.matrix, least_seconds);
    if (options.operators) add(measure_operators(shape, on, world, arena, least_seconds));
    if (world.size() > 1) add(measure_all_reduce(on, world, arena, least_seconds));
  };
  {
    Arena arena(backend, memory_of(measure, runtime->groups().grid().size()), "benchmark");
    measurements.clear();
    measure(backend, runtime->groups().groups().world, arena, options.least_seconds);
  }
  if (options.step) add(measure_training_step(shape, backend, runtime->groups(), options.least_seconds));
  console.print(fmt::format("ceilings, measured: copy {:.1f} GB/s, square product of {} {:.2f} TFLOP/s\n",
                            ceilings.copy_bytes_per_second / 1e9, options.matrix,
                            ceilings.matmul_flops_per_second / 1e12));
  console.print(to_table(measurements, ceilings));
  if (!options.output.empty() && runtime->is_first())
    write_file_atomically(options.output, to_json(measurements, ceilings).dump(2) + "\n");
  return static_cast<int>(ExitCode::done);
}

}  // namespace

int bench(const Arguments& arguments) {
  return run_on_ranks("chorus bench", [&](const MakeRuntime& make_runtime) {
    Options options;
    OptionTable table("bench", "measures operators, a training step and all-reduce on this machine");
    table.add("model", options.model, "sizes of tiny, 15m, 110m, 1b, 7b or 13b; weights are random");
    table.add("layers", options.layers, "blocks of the model; none: as many as it has").at_least(1);
    table.add("tokens", options.tokens, "of a micro-batch").at_least(1);
    table.add("sequence-length", options.sequence_length, "of the dialogues in it, in tokens").at_least(1);
    table.add("targets-per-sequence", options.targets_per_sequence, "learned tokens at the end of each")
        .at_least(1);
    table.add("lora-rank", options.lora_rank, "rank r of the adapters").at_least(1);
    table.add("lora-dropout", options.lora_dropout, "of the adapters' inputs in the step")
        .at_least(0)
        .less_than(1);
    table.add("matrix", options.matrix, "width of the square product that is the ceiling").at_least(1);
    table.add("operators", options.operators, "measure each operator");
    table.add("step", options.step, "measure a training step");
    table.add("seconds", options.least_seconds, "for which each measurement is repeated, three times")
        .more_than(0);
    table.add("output", options.output, "also write the numbers as JSON").shown_as("FILE");
    add_computation(table, options.precision, options.runtime);
    if (!table.parse(arguments)) return static_cast<int>(ExitCode::done);
    return run(options, table, make_runtime);
  });
}

}  // namespace chorus::command
