#include <optional>

#include "data/text/files.h"
#include "experiments/planning/benchmark_file.h"
#include "experiments/planning/stopwatch.h"
#include "launch/commands/commands.h"
#include "launch/commands/model_setup.h"
#include "launch/commands/training_options.h"
#include "launch/process/version.h"

namespace chorus::command {

namespace {

struct Options {
  std::string model = "tiny", output;
  std::vector<std::string> compare;
  std::optional<std::int64_t> layers;
  BenchmarkShape shape;
  std::int64_t matrix = 1024;
  bool operators = true, step = true;
  double least_seconds = 0.2;
  RuntimeOptions runtime;
};

ExitCode compare(const std::string& first, const std::string& second) {
  const BenchmarkRun runs[] = {read_benchmark(first), read_benchmark(second)};
  Console().print(comparison_table(runs[0], runs[1]));
  return ExitCode::done;
}

BenchmarkShape shape_of(const Options& options) {
  BenchmarkShape shape = options.shape;
  shape.model = benchmark_model(options.model);
  if (options.layers) shape.model.layers = *options.layers;
  return shape;
}

std::string machine_of(const Options& options, const BenchmarkShape& shape, Runtime& runtime) {
  return fmt::format("{}; {} with {} layers, {}{}, {} tokens a rank{}",
                     runtime.description(shape.options.precision), options.model, shape.model.layers,
                     name(shape.options.precision), in_base_precision(shape.options.base_precision),
                     shape.tokens, recomputed(shape.options.recompute));
}

void measure(const Options& options, const BenchmarkShape& shape, Runtime& runtime, BenchmarkRun& run) {
  const Groups groups = runtime.groups().groups();
  const auto add = [&](const std::vector<Measurement>& more) {
    run.measurements.insert(run.measurements.end(), more.begin(), more.end());
  };
  const auto in_arena = [&](Backend& backend, Communicator& world, Arena& arena, double least_seconds) {
    run.ceilings =
        measure_ceilings(backend, world, arena, shape.options.precision, options.matrix, least_seconds);
    run.measurements.clear();
    if (options.operators) add(measure_operators(shape, backend, world, arena, least_seconds));
    if (world.size() > 1) add(measure_all_reduce(backend, world, arena, least_seconds));
  };
  {
    Arena arena(runtime.backend(), memory_of(in_arena, groups.world.size()), "benchmark");
    in_arena(runtime.backend(), groups.world, arena, options.least_seconds);
  }
  if (!options.step) return;
  const std::unique_ptr<StreamClock> clock = runtime.stream_clock();
  add(measure_training_step(shape, runtime.backend(), groups, *clock, options.least_seconds));
}

ExitCode run(const Options& options, const OptionTable& table, const MakeRuntime& make_runtime) {
  const BenchmarkShape shape = shape_of(options);
  std::optional<BenchmarkRun> former;
  if (!options.compare.empty()) former = read_benchmark(options.compare[0]);
  const std::unique_ptr<Runtime> runtime =
      make_runtime(options.runtime, facts_of(table, {"output", "compare"}));
  if (!options.output.empty() && runtime->is_first()) begin_file(options.output, "--output");
  Console& console = runtime->console();
  BenchmarkRun now{.name = "now",
                   .version = std::string(version()),
                   .machine = machine_of(options, shape, *runtime),
                   .ceilings = {},
                   .measurements = {}};
  console.print(now.machine + "\n");
  measure(options, shape, *runtime, now);
  console.print(fmt::format("ceilings, measured: copy {:.1f} GB/s, square product of {} {:.2f} TFLOP/s\n",
                            now.ceilings.copy_bytes_per_second / 1e9, options.matrix,
                            now.ceilings.matmul_flops_per_second / 1e12));
  console.print(to_table(now.measurements, now.ceilings));
  if (former) console.print(comparison_table(*former, now));
  if (!options.output.empty() && runtime->is_first()) write_benchmark(options.output, now);
  return ExitCode::done;
}

}  // namespace

ExitCode bench(const Arguments& arguments) {
  return run_on_ranks("chorus bench", [&](const MakeRuntime& make_runtime) {
    Options options;
    OptionTable table("bench", "measures operators, a training step and all-reduce on this machine");
    table.add("model", options.model, "sizes of tiny, 15m, 110m, 1b, 7b or 13b; weights are random");
    table.add("layers", options.layers, "blocks of the model; none: as many as it has").at_least(1);
    table.add("tokens", options.shape.tokens, "of a micro-batch").at_least(1);
    table.add("sequence-length", options.shape.sequence_length, "of the dialogues in it, in tokens")
        .at_least(1);
    table.add("targets-per-sequence", options.shape.targets_per_sequence, "learned tokens at the end of each")
        .at_least(1);
    table.add("lora-rank", options.shape.lora.rank, "rank r of the adapters").at_least(1);
    table.add("lora-dropout", options.shape.lora.dropout, "of the adapters' inputs in the step")
        .at_least(0)
        .less_than(1);
    add_recompute(table, options.shape.options.recompute);
    table.add("matrix", options.matrix, "width of the square product that is the ceiling").between(1, 65536);
    table.add("operators", options.operators, "measure each operator");
    table.add("step", options.step, "measure a training step, and each call of an operator in it");
    table.add("seconds", options.least_seconds, "for which each measurement is repeated, three times")
        .more_than(0);
    table.add("output", options.output, "also write the numbers as JSON").shown_as("FILE");
    table
        .add("compare", options.compare,
             "JSON of a former run, whose numbers stand beside those of this one; two: these alone, and "
             "nothing is measured")
        .shown_as("FILE,...");
    add_computation(table, options.shape.options, options.runtime);
    if (!table.parse(arguments)) return ExitCode::done;
    require<ConfigurationError>(options.compare.size() <= 2, "--compare takes one file or two, not ",
                                options.compare.size());
    if (options.compare.size() == 2) return compare(options.compare[0], options.compare[1]);
    return run(options, table, make_runtime);
  });
}

}  // namespace chorus::command
