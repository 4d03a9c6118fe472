#include <filesystem>
#include <optional>

#include <nlohmann/json.hpp>

#include "core/training/trainer.h"
#include "data/prompts/prompt_form.h"
#include "data/text/files.h"
#include "data/text/folder_lock.h"
#include "data/text/json.h"
#include "data/text/text.h"
#include "experiments/planning/machine.h"
#include "launch/commands/commands.h"
#include "launch/commands/model_setup.h"
#include "launch/commands/train_log.h"
#include "launch/commands/training_files.h"
#include "launch/commands/training_options.h"
#include "launch/process/environment.h"
#include "launch/process/runtime.h"
#include "parallel/host_values.h"

namespace chorus::command {

namespace {

// A fresh run wants a fresh folder; a resumed one goes on in its own.
void begin_output(const TrainConfig& config, Console& console, std::optional<FolderLock>& lock) {
  lock.emplace(config.output, config.resume.empty() ? FolderLock::Former::refused : FolderLock::Former::kept);
  if (!lock->remark().empty()) console.print(lock->remark());
}

// Whether the run of this folder has come to its end, and neither a way back nor more is asked for. Throws
// ConfigurationError where it is another run than this one.
bool is_finished(const TrainConfig& config, const nlohmann::ordered_json& identity,
                 const std::optional<std::filesystem::path>& checkpoint) {
  const std::filesystem::path output = config.output, results = output / "train_results.json";
  const std::optional<nlohmann::json> then = read_identity(output);
  bool finished = false;
  if (std::filesystem::exists(results)) {
    const nlohmann::json json = read_json_file(results);
    finished = JsonFields(json, results.string()).boolean("finished").value_or(false);
  }
  if (then) {
    const std::vector<std::string> different = differences(*then, identity, config.extend);
    require<ConfigurationError>(
        different.empty(), "the output folder ", output.string(), " holds another run",
        finished ? ", which is finished" : "", ": ", joined(different, "; "),
        differences(*then, identity, true).empty() ? "; --extend on goes on to what is more of it"
                                                   : "; name another --output, or remove this one");
    if (finished && !differences(*then, identity).empty()) {
      require<ConfigurationError>(
          checkpoint.has_value(), "the run in ", output.string(),
          " is finished and left no checkpoint, so that --extend has nothing to go on "
          "from: begin anew in another --output, with --save-steps");
      return false;
    }
  } else if (checkpoint && !std::filesystem::equivalent(*checkpoint / "..", output)) {
    require_free_folder(output);
  }
  // A checkpoint that is named is gone on from, whatever came after it.
  return finished && config.resume == "auto";
}

// Once it is certain that this run goes on there, and before anything of its former sessions is replaced.
void describe_run(const TrainConfig& config, const OptionTable& table, const DatasetOrigin& train,
                  const nlohmann::ordered_json& identity) {
  const std::filesystem::path output = config.output;
  std::filesystem::remove(output / "train_results.json");  // of an end from which it goes on
  write_identity(output, identity);
  write_file_atomically(output / "config.ini", table.print_effective());
  write_file_atomically(output / "environment.json", describe_environment().dump(2) + "\n");
  if (!train.recipe_text.empty()) PromptForm::of(train, config.data).write(output);
}

struct Start {
  std::optional<std::filesystem::path> checkpoint;
  std::vector<std::string> damage;  // of later ones, which --resume auto passes over
};

Start find_start(const TrainConfig& config) {
  Start start;
  if (config.resume.empty()) return start;
  if (config.resume == "auto") {
    start.checkpoint = newest_checkpoint(config.output, &start.damage);
    return start;
  }
  require<ConfigurationError>(std::filesystem::is_directory(config.resume), "--resume ", config.resume,
                              ": there is no such checkpoint folder");
  start.checkpoint = (std::filesystem::path(config.resume) / "").parent_path();  // without a slash behind it
  require_undamaged_checkpoint(*start.checkpoint);
  return start;
}

void say_start(const TrainConfig& config, const Start& start, std::int64_t step, Console& console) {
  for (const std::string& line : start.damage) console.print("passed over: " + line);
  for (const std::filesystem::path& later : checkpoints_after(config.output, step))
    console.print(fmt::format("{} is of a later step: it is set aside as {}{}", later.string(),
                              later.filename().string(), aside_suffix));
  console.print(fmt::format("continues from {}, {} steps are done", start.checkpoint->string(), step));
}

// What all ranks must have alike.
SharedFacts facts_of(const TrainConfig& config, const OptionTable& table,
                     const nlohmann::ordered_json& content,
                     const std::optional<std::filesystem::path>& checkpoint) {
  SharedFacts facts = facts_of(table, {"base", "data", "output", "adapter", "resume"});
  add_content(facts, content);
  const bool from_anywhere = config.resume.empty() || config.resume == "auto";
  facts.emplace_back("resume", from_anywhere ? config.resume : "a checkpoint");
  facts.emplace_back("the checkpoint",
                     checkpoint ? fmt::format("{} with content {:016x}", checkpoint->filename().string(),
                                              checkpoint_content(*checkpoint))
                                : "none");
  return facts;
}

void write_results(const TrainConfig& config, const Trainer& trainer, const TrainingSummary& summary,
                   const MemoryPlan& plan, std::int64_t trainable, const std::vector<std::string>& labels) {
  nlohmann::ordered_json results{{"finished", summary.finished},
                                 {"stopped_early", summary.stopped_early},
                                 {"steps", summary.state.step},
                                 {"total_steps", trainer.total_steps()}};
  if (!summary.state.extended_at.empty()) results["extended_at"] = summary.state.extended_at;
  // A run that was stopped between its last step and here has no step left to tell of.
  if (summary.tokens > 0) {
    results.update({{"train_loss", summary.last_loss},
                    {"train_runtime", summary.seconds},
                    {"tokens", summary.tokens},
                    {"tokens_without_prefix_sharing", summary.unshared_tokens},
                    {"tokens_per_second", static_cast<double>(summary.tokens) / summary.seconds}});
  } else {
    results.update({{"train_runtime", summary.state.elapsed}, {"tokens", summary.state.total_tokens}});
  }
  results["trainable_parameters"] = trainable;
  results["planned_bytes"] = plan.total();
  results["peak_resident_bytes"] = peak_resident_bytes();
  if (!labels.empty()) results["labels"] = labels;
  if (summary.state.best_metric) {
    results["dev_metric"] = name(trainer.dev_metric());
    results["best_dev_metric"] = *summary.state.best_metric;
    results["best_step"] = summary.state.best_step;
  }
  write_file_atomically(std::filesystem::path(config.output) / "train_results.json", results.dump(2) + "\n");
}

void say_what_is_trained(const TrainConfig& config, const OptionTable& table, const TrainingFiles& inputs,
                         Runtime& runtime) {
  Console& console = runtime.console();
  console.print(table.print_changed());
  console.print(runtime.description(config.model.precision));
  for (const std::string& remark : remarks(inputs.base, inputs.adapter, config.model.base_precision))
    console.print(remark);
  if (!inputs.dev)
    console.print(inputs.no_dev + ": nothing is scored while training, and the last " +
                  (config.method == Method::lora ? "adapter" : "model") + " is kept");
}

// A warm-up longer than the training is no error: the rates are those with which a longer training begins.
void say_cut_warmup(const Schedule& schedule, Console& console) {
  if (schedule.warmup_steps <= schedule.total_steps) return;
  console.print(
      fmt::format("the warm-up of {} steps is longer than the training of {}: the learning rate only reaches "
                  "{:.3g} of {:.3g}",
                  schedule.warmup_steps, schedule.total_steps,
                  learning_rate(schedule, schedule.total_steps - 1), schedule.peak));
}

ExitCode report_end(const TrainConfig& config, const Trainer& trainer, const TrainingSummary& summary,
                    Console& console) {
  console.finish();
  if (!summary.finished) {
    console.print(
        fmt::format("stopped by {} after step {}{}; a checkpoint is in {}; go on with --resume auto",
                    summary.interrupted ? "a signal" : "--max-time", summary.state.step,
                    summary.state.evaluation_due ? ", before dev was scored" : "", config.output));
    return ExitCode::preempted;
  }
  if (summary.stopped_early)
    console.print(
        fmt::format("ends after step {} of {}: {} scorings of dev had no better {} than {} at step {}",
                    summary.state.step, trainer.total_steps(), summary.state.scorings_since_best,
                    title(trainer.dev_metric()),
                    print_score(trainer.dev_metric(), *summary.state.best_metric), summary.state.best_step));
  console.print(fmt::format("trained {} steps in {}; the {} is in {}", summary.state.step,
                            print_duration(summary.seconds),
                            config.method == Method::lora ? "adapter" : "model", config.output));
  return ExitCode::done;
}

// FLOP/s of all ranks together, in products of this precision; 0 where it is not known what their device reaches.
double peak_flops(Runtime& runtime, DType precision) {
  const std::optional<Machine> machine = shipped_machine_of(runtime.gpu_name());
  return machine ? machine->peak_flops(precision) * runtime.groups().groups().world.size() : 0;
}

// is_finished(), on all ranks, of which only the first need have the folder. Collective.
bool is_finished_on_ranks(const TrainConfig& config, const Trainer& trainer, const Start& start,
                          Runtime& runtime, Arena& arena) {
  const bool here = runtime.is_first() && is_finished(config, trainer.identity(), start.checkpoint);
  if (sum_over_ranks<std::int32_t>(here ? 1 : 0, runtime.groups().groups().world, runtime.backend(), arena) ==
      0)
    return false;
  runtime.console().print(fmt::format("the run in {} is finished: nothing is left to do", config.output));
  if (runtime.is_first() && !read_identity(config.output))
    runtime.console().print(
        "an older version of Chorus wrote it: whether it is the run of these options is not known");
  return true;
}

// Everything that is not in a checkpoint. Returns how many parameters are trained.
std::int64_t load(const TrainConfig& config, const TrainingFiles& inputs, BaseSetup& base, Model& model,
                  Console& console) {
  base.llama.load(inputs.base);
  inputs.load_or_initialise(model);
  const std::int64_t trainable = model.parameters().full_elements();
  const std::int64_t of_base = parameter_count(inputs.base.config());
  console.print(fmt::format("{} of {} parameters are trained", trainable,
                            config.method == Method::lora ? of_base + trainable : trainable));
  return trainable;
}

void resume(const TrainConfig& config, const Start& start, Trainer& trainer, Console& console) {
  const std::vector<std::string> remarks = trainer.resume(*start.checkpoint);
  say_start(config, start, trainer.state().step, console);
  for (const std::string& remark : remarks) console.print(remark);
}

ExitCode run(TrainConfig& config, const RuntimeOptions& options, const OptionTable& table,
             const MakeRuntime& make_runtime) {
  const TrainingFiles inputs = read_training_files(config, table);
  TrainingInputs to_read = inputs.to_train();
  const nlohmann::ordered_json content = content_identity(to_read);
  to_read.content = &content;
  const Start start = find_start(config);
  const std::unique_ptr<Runtime> runtime =
      make_runtime(options, facts_of(config, table, content, start.checkpoint));
  Console& console = runtime->console();
  std::optional<FolderLock> lock;
  if (runtime->is_first()) begin_output(config, console, lock);
  say_what_is_trained(config, table, inputs, *runtime);

  const ModelOptions model = inputs.model_options(config);
  BaseSetup base = take_base(inputs.base, model, *runtime);
  ModelSetup setup(base, model, {.tokens = config.batches.tokens_per_microbatch, .training = true});
  console.print(setup.plan.to_table());
  // Made before the base is loaded: for the identity of the run it reads samples of the file, and gives the pages back.
  Trainer trainer(config, to_read, setup.model, {runtime->groups(), setup.optimizer, setup.activations, [&] {
                                                   return runtime->stop_requested();
                                                 }});
  if (is_finished_on_ranks(config, trainer, start, *runtime, setup.activations)) return ExitCode::done;
  require<DataError>(start.checkpoint || start.damage.empty(), "no checkpoint in ", config.output,
                     " can be gone on from: ", joined(start.damage, "; "),
                     "; bring one back, or remove them to begin anew");
  const std::int64_t trainable = load(config, inputs, base, setup.model, console);
  say_cut_warmup(trainer.schedule(), console);
  if (start.checkpoint) resume(config, start, trainer, console);
  if (runtime->is_first()) describe_run(config, table, inputs.train.origin(), trainer.identity());
  TrainLog log(
      config, console, runtime->is_first(), trainer.state(), [&] { return runtime->memory_in_use(); },
      runtime->activity(), peak_flops(*runtime, config.model.precision));
  const TrainingSummary summary = trainer.run(log);
  if (runtime->is_first())
    write_results(config, trainer, summary, setup.plan, trainable, inputs.train.origin().labels);
  return report_end(config, trainer, summary, console);
}

}  // namespace

ExitCode train(const Arguments& arguments) {
  return run_on_ranks("chorus train", [&](const MakeRuntime& make_runtime) {
    TrainConfig config;
    RuntimeOptions options;
    OptionTable table("train", "fine-tunes a base with LoRA, or trains all of its weights");
    add_training(table, config, options);
    if (!table.parse(arguments)) return ExitCode::done;
    return run(config, options, table, make_runtime);
  });
}

}  // namespace chorus::command
