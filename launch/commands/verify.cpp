#include <algorithm>
#include <optional>

#include "core/training/step_comparison.h"
#include "launch/commands/commands.h"
#include "launch/commands/file_check.h"
#include "launch/commands/model_setup.h"
#include "launch/commands/training_files.h"
#include "launch/commands/training_options.h"
#include "launch/process/runtime.h"
#include "launch/process/system_facts.h"
#include "parallel/host_values.h"

namespace chorus::command {

namespace {

struct Options {
  TrainConfig train;
  RuntimeOptions runtime;
  std::int64_t steps = 3;

  FilesToCheck files() const { return {train.base, train.adapter, train.data}; }
};

void report_files(const FilesToCheck& files, Console& console, Activity& activity) {
  const std::vector<CheckedPart> parts = check_files(files, [&](std::int64_t tensor) {
    activity.now("reading files", tensor);
    console.progress("reading files, tensors", tensor, 0);
  });
  console.finish();
  console.print(to_table(parts));
  const auto refused = std::ranges::count(parts, false, &CheckedPart::usable);
  require<DataError>(refused == 0, refused, " of ", parts.size(), " parts cannot be used");
  console.print("the files can be used");
}

// The same steps computed as simply as can be. Their results must not depend on any of this.
TrainConfig plain(const TrainConfig& config, const DataSplit& train) {
  TrainConfig plain = config;
  plain.batches.prefix_sharing = plain.model.sequence_parallel = false;
  plain.model.recompute = Recompute::none;
  plain.model.overlap_chunks = 1;
  plain.batches.tokens_per_microbatch = std::max<std::int64_t>(train.longest_sample(), 1);
  return plain;
}

PassLimits limits_of(const TrainConfig& config) {
  return {.tokens = config.batches.tokens_per_microbatch, .training = true};
}

// A training on some ranks, ready for its first step. All references must outlive it.
struct ReadyTraining {
  ReadyTraining(const TrainConfig& config, const TrainingFiles& files, const TrainingInputs& inputs,
                Runtime& runtime, TimedGroups& groups)
      : options(files.model_options(config)),
        base(files.base.config(), options, runtime.backend(), groups.groups(),
             stored_in_place(files.base, runtime)),
        setup(base, options, limits_of(config)),
        trainer(config, inputs, setup.model, {groups, setup.optimizer, setup.activations}) {
    base.llama.load(files.base);
    files.load_or_initialise(setup.model);
  }

  ModelOptions options;
  BaseSetup base;
  ModelSetup setup;
  Trainer trainer;
};

// A GPU says so itself.
void require_room(const TrainConfig& config, const TrainingFiles& files, Runtime& runtime) {
  const MemoryPlan plan = plan_memory(files.base.config(), files.model_options(config), make_grid(1, 1, 0),
                                      limits_of(config), stored_in_place(files.base, runtime));
  runtime.console().print("one rank alone: " + plan.to_table());
  if (!runtime.computes_in_host_memory()) return;
  const SystemFacts system = read_system(".", 1);
  const std::int64_t needed = plan.total() - plan.in_place;
  require<MemoryError>(needed <= system.free_memory,
                       "one rank alone, with which this grid is compared, needs ", needed,
                       " bytes of memory, and ", system.free_memory, " are free on host ", system.host,
                       ": compare on a machine with more, or with a base of fewer layers");
}

// On this rank, whatever others there are.
RecordedSteps record_alone(const TrainConfig& config, std::int64_t steps, const TrainingFiles& files,
                           const TrainingInputs& inputs, Runtime& runtime) {
  require_room(config, files, runtime);
  IdleCommunicator solo;
  // The rank says by its calls, which exchange nothing, that it gets on: the others wait.
  runtime.activity().now("one rank alone", 1);
  TimedGroups groups({make_grid(1, 1, 0), solo, solo, solo}, &runtime.activity());
  ReadyTraining training(config, files, inputs, runtime, groups);
  return record_steps(training.trainer, training.setup.model, training.setup.activations,
                      std::min(steps, training.trainer.total_steps()));
}

std::string way_of(const TrainConfig& config) {
  std::string way = fmt::format("micro-batches of {} tokens, {}", config.batches.tokens_per_microbatch,
                                config.batches.prefix_sharing ? "shared prefixes" : "prompts apart");
  way += recomputed(config.model.recompute);
  if (config.model.sequence_parallel) way += ", sequences divided";
  if (config.model.overlap_chunks > 1) way += fmt::format(", sums in {} pieces", config.model.overlap_chunks);
  return way;
}

ExitCode compare(const Options& options, const TrainingFiles& files, TrainingInputs& inputs,
                 Runtime& runtime) {
  Console& console = runtime.console();
  const TrainConfig reference_config = plain(options.train, files.train);
  RecordedSteps reference;
  if (runtime.is_first()) {
    console.progress("steps of one rank alone", 0, 0);
    reference = record_alone(reference_config, options.steps, files, inputs, runtime);
  }
  ReadyTraining training(options.train, files, inputs, runtime, runtime.groups());
  const std::int64_t steps = std::min(options.steps, training.trainer.total_steps());
  console.progress("the same as configured", 0, 0);
  const std::vector<Agreement> agreements =
      compare_steps(reference, steps, training.trainer, training.setup.model, training.setup.activations);
  console.finish();
  const auto broken = std::ranges::count(agreements, false, &Agreement::holds);
  console.print(fmt::format("compared: {} steps of one rank alone ({})", steps, way_of(reference_config)));
  console.print(fmt::format("with those of {} ({})", runtime.description(options.train.model.precision),
                            way_of(options.train)));
  console.print(to_table(agreements));
  require<DataError>(
      broken == 0, broken, " of ", agreements.size(), " quantities differ by more than rounding explains: ",
      options.train.model.precision == DType::bf16 ? "see first whether --precision f32 holds; " : "",
      "leave out one option of the configuration, or one kind of ranks, at a time to see which it "
      "is, and train without it");
  console.print("the steps are those of one rank, up to rounding");
  return ExitCode::done;
}

ExitCode run_training(Options& options, const OptionTable& table, const MakeRuntime& make_runtime) {
  const TrainingFiles files = read_training_files(options.train, table);
  TrainingInputs inputs = files.to_train();
  const nlohmann::ordered_json content = content_identity(inputs);
  inputs.content = &content;
  SharedFacts facts = facts_of(table, {"base", "data", "adapter"});
  add_content(facts, content);
  const std::unique_ptr<Runtime> runtime = make_runtime(options.runtime, facts);
  if (runtime->is_first()) report_files(options.files(), runtime->console(), runtime->activity());
  return compare(options, files, inputs, *runtime);
}

ExitCode run_files(const Options& options) {
  require<ConfigurationError>(
      !options.train.base.empty() || !options.train.adapter.empty() || !options.train.data.empty(),
      "nothing to verify: give --base, --adapter or --data, or the configuration of a training");
  Console console;
  Activity nobody_waits;
  report_files(options.files(), console, nobody_waits);
  return ExitCode::done;
}

void add_options(OptionTable& table, Options& options) {
  TrainConfig& c = options.train;
  table.group("Files");
  table.add("base", c.base, "Hugging Face folder of a base model").shown_as("DIR");
  table.add("adapter", c.adapter, "PEFT adapter; checked against --base, if given").shown_as("DIR");
  table.add("data", c.data, "folder of `chorus prepare`; its splits are checked against --base")
      .shown_as("DIR");
  table.group("Training, where both --base and --data are given; options as those of train");
  table
      .add("steps", options.steps,
           "optimizer steps that are compared with those of one rank alone; 0: only files are read")
      .at_least(0);
  add_method_choice(table, c.method);
  add_lora(table, c);
  table.group("Features of the data, where it has some");
  add_projector(table, c.projector);
  add_optimisation(table, c);
  table.group("Computation");
  add_computation(table, c.model, options.runtime);
  add_division_of_work(table, c.model);
}

}  // namespace

ExitCode verify(const Arguments& arguments) {
  return run_on_ranks("chorus verify", [&](const MakeRuntime& make_runtime) {
    Options options;
    OptionTable table(
        "verify",
        "reads bases, adapters and data to their last byte and says whether they can be used; and "
        "whether the first steps of a training, on the ranks that are there, are those of one rank "
        "alone. Writes nothing");
    add_options(table, options);
    pass_over_training(table);  // which is verified by its configuration
    if (!table.parse(arguments)) return ExitCode::done;
    const bool trains = options.steps > 0 && !options.train.base.empty() && !options.train.data.empty();
    return trains ? run_training(options, table, make_runtime) : run_files(options);
  });
}

}  // namespace chorus::command
