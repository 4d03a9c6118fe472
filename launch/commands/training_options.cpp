#include "launch/commands/training_options.h"

#include "launch/commands/model_setup.h"

namespace chorus {

namespace {

void add_method(OptionTable& table, TrainConfig& c) {
  table.group("What to train");
  table.add("base", c.base, "Hugging Face folder of the base model").required().shown_as("DIR");
  table.add("data", c.data, "folder that `chorus prepare` wrote").required().shown_as("DIR");
  table.add("output", c.output, "new folder for adapter, checkpoints and logs").required().shown_as("DIR");
  add_method_choice(table, c.method);
  table
      .add("adapter", c.adapter,
           "PEFT adapter to start from where no checkpoint is resumed; it decides rank, alpha and targets")
      .shown_as("DIR");
  table.add("resume", c.resume, "checkpoint to continue, or auto for the newest in --output, if any");
  table.add(
      "extend", c.extend,
      "of --resume: go on, also from its end, to more --epochs or --max-steps, or with more --patience, "
      "than the run had");
  add_lora(table, c);
}

void add_running(OptionTable& table, TrainConfig& c, RuntimeOptions& runtime) {
  table.group("Computation");
  add_computation(table, c.model, runtime);
  add_division_of_work(table, c.model);
  table.group("Logging and saving");
  table.add("logging-steps", c.logging_steps, "steps between two lines of the log").at_least(1);
  table
      .add("eval-steps", c.eval_steps, "steps between two scorings of dev; none: after every epoch; 0: never")
      .at_least(0);
  table.choice("dev-metric", c.dev_metric,
               {{"auto", DevMetric::automatic},
                {"loss", DevMetric::loss},
                {"accuracy", DevMetric::accuracy},
                {"weighted-f1", DevMetric::weighted_f1},
                {"macro-f1", DevMetric::macro_f1}},
               "by what the best is chosen on dev; auto: weighted F1 where there are labels, else the loss");
  table
      .add("patience", c.patience,
           "scorings of dev in a row without a better one after which the training is finished; 0: never")
      .at_least(0);
  table.add("save-steps", c.save_steps, "steps between two checkpoints; 0: none").at_least(0);
  table.add("save-total-limit", c.save_total_limit, "checkpoints that are kept; 0: all").at_least(0);
  table.add("max-time", c.max_time, "seconds after which to save a checkpoint and stop; 0: no limit")
      .at_least(0);
  table
      .add("check-replicas", c.check_replicas,
           "steps after which ranks compare, by hash, what they must hold alike; 0: never")
      .at_least(0);
  table.add("log-tensor-norms", c.log_tensor_norms, "also log the gradient norm of every trained tensor");
  table.add("tensorboard", c.tensorboard, "also write the log into OUTPUT/tensorboard, for TensorBoard");
}

}  // namespace

void add_training(OptionTable& table, TrainConfig& c, RuntimeOptions& runtime) {
  add_method(table, c);
  table.group("Features of the data, where it has some");
  add_projector(table, c.projector);
  add_optimisation(table, c);
  add_running(table, c, runtime);
}

void pass_over_training(OptionTable& table) {
  TrainConfig any_training;
  RuntimeOptions any_runtime;
  OptionTable training("train", "");
  add_training(training, any_training, any_runtime);
  table.pass_over_those_of(training);
}

void add_lora(OptionTable& table, TrainConfig& c) {
  table.group("LoRA");
  add_adapters(table, c.lora);
  table.add("lora-alpha", c.lora.alpha, "the adapter's product is scaled by alpha / r").more_than(0);
  table.add("rslora", c.lora.rslora, "scale by alpha / sqrt(r) instead");
  table
      .add("lora-plus-ratio", c.lora_plus_ratio,
           "learning rate of the factors B, as a multiple of the others'")
      .more_than(0);
}

void add_optimisation(OptionTable& table, TrainConfig& c) {
  table.group("Optimisation");
  table.add("learning-rate", c.schedule.peak, "peak learning rate").at_least(0);
  table.choice("schedule", c.schedule.kind,
               {{"constant", ScheduleKind::constant},
                {"linear", ScheduleKind::linear},
                {"cosine", ScheduleKind::cosine}},
               "what follows the warm-up");
  table.add("warmup-ratio", c.schedule.warmup_ratio, "share of the steps for the warm-up").between(0, 1);
  table.add("warmup-steps", c.schedule.warmup_steps, "steps for the warm-up, instead of --warmup-ratio")
      .at_least(0);
  add_batches(table, c);
  table.add("weight-decay", c.adamw.weight_decay, "decoupled, of AdamW").at_least(0);
  table.add("max-grad-norm", c.max_grad_norm, "gradients are clipped to this global norm; 0: off")
      .at_least(0);
  table.add("adam-beta1", c.adamw.beta1, "decay of the first moments").at_least(0).less_than(1);
  table.add("adam-beta2", c.adamw.beta2, "decay of the second moments").at_least(0).less_than(1);
  table.add("adam-epsilon", c.adamw.epsilon, "of AdamW").more_than(0);
  add_order(table, c.batches);
}

void add_method_choice(OptionTable& table, Method& method) {
  table.choice("method", method, {{"lora", Method::lora}, {"full", Method::full}},
               "train adapters on the frozen base, or all of its weights");
}

void add_adapters(OptionTable& table, LoraConfig& lora) {
  table.add("lora-rank", lora.rank, "rank r of the adapters").at_least(1);
  table.add("lora-dropout", lora.dropout, "share of the adapter's inputs that is dropped")
      .at_least(0)
      .less_than(1);
  table.text("lora-targets", lora.targets, parse_targets, print_targets,
             "projections with an adapter: all, or some of q,k,v,o,gate,up,down");
}

void add_projector(OptionTable& table, ProjectorConfig& projector) {
  table.choice("projector", projector.kind, {{"linear", ProjectorKind::linear}, {"mlp", ProjectorKind::mlp}},
               "what maps their rows into the model: one layer, or two with a ReLU between");
  table.add("projector-hidden", projector.hidden, "width between the two layers; 0: the model's").at_least(0);
}

void add_batches(OptionTable& table, TrainConfig& c) {
  table.add("batch-size", c.batches.batch_size, "samples per optimizer step, over all ranks").at_least(1);
  add_tokens_per_microbatch(table, c.batches);
  table.add("epochs", c.epochs, "passes over the data").between(0, 1e6);
  table.add("max-steps", c.max_steps, "optimizer steps, instead of --epochs; 0: off").at_least(0);
}

void add_order(OptionTable& table, BatchOptions& batches) {
  table.add("seed", batches.seed, "of initial adapters, dropout and shuffling");
  table.add("shuffle", batches.shuffle, "new order of the dialogues in every epoch; off: as in the file");
  table
      .add(
          "curriculum", batches.curriculum,
          "n: epoch e of the first n takes the first e n-ths of the dialogues as they stand in the file, see "
          "prepare --order; 1: off")
      .at_least(1);
  add_prefix_sharing(table, batches);
}

void add_tokens_per_microbatch(OptionTable& table, BatchOptions& batches) {
  table.add("tokens-per-microbatch", batches.tokens_per_microbatch, "what one rank computes at once")
      .at_least(1);
}

void add_prefix_sharing(OptionTable& table, BatchOptions& batches) {
  table.add("prefix-sharing", batches.prefix_sharing,
            "compute the common beginning of prompts once; same result");
}

void add_recompute(OptionTable& table, Recompute& recompute) {
  table
      .choice(
          "recompute", recompute,
          {{"none", Recompute::none}, {"some", Recompute::some}, {"all", Recompute::all}},
          "what backward computes again, to keep less: nothing; what norms and the MLP's product give, some "
          "percent of the time; or whole blocks, about 40 % more work; same result")
      .as_switch("all", "none");
}

std::string_view recomputed(Recompute recompute) {
  return recompute == Recompute::none   ? ""
         : recompute == Recompute::some ? ", norms and products of MLPs recomputed"
                                        : ", blocks recomputed";
}

void add_division_of_work(OptionTable& table, ModelOptions& model) {
  add_recompute(table, model.recompute);
  table.add("sequence-parallel", model.sequence_parallel,
            "tensor ranks divide norms and residuals too: less memory, same result");
  table
      .add("overlap-chunks", model.overlap_chunks,
           "send each of so many pieces of o and down while the next is multiplied; same result")
      .at_least(1);
}

}  // namespace chorus
