#include "core/training/trainer.h"

#include <algorithm>
#include <cmath>

#include "core/formats/finite.h"
#include "core/training/replicas.h"
#include "data/text/files.h"
#include "ops/base/clock.h"
#include "parallel/host_values.h"

namespace chorus {

Trainer::Trainer(const TrainConfig& config, const TrainingInputs& inputs, Model& model,
                 const TrainingResources& resources)
    : config_(config),
      dev_(inputs.dev),
      model_(model),
      activations_(resources.activations),
      timed_groups_(resources.groups),
      groups_(resources.groups.groups()),
      batches_(inputs.train, config.batches, groups_.data.size()),
      schedule_(make_schedule(config.schedule, chorus::total_steps(config, batches_.epochs()))),
      step_(model, resources.optimizer_arena, resources.activations),
      store_(config, inputs.base, model),
      eval_steps_(dev_ ? config.eval_steps.value_or(batches_.steps_per_epoch()) : 0),
      dev_metric_(eval_steps_ == 0 ? DevMetric::automatic : resolve(config.dev_metric, *dev_)),
      identity_(run_identity(config, inputs, schedule_, eval_steps_)),
      stop_requested_(resources.stop_requested) {}

std::vector<std::string> Trainer::resume(const std::filesystem::path& checkpoint) {
  CheckpointStore::Resumed resumed = store_.read(checkpoint, step_.optimizer(), identity_);
  require<DataError>(resumed.state.step >= 0 && resumed.state.step <= total_steps(), checkpoint.string(),
                     " is of step ", resumed.state.step, " of ", total_steps());
  state_ = resumed.state;
  resumed_from_ = checkpoint;
  if (!state_.evaluation_due) saved_at_ = state_.step;
  std::vector<std::string> remarks{std::move(resumed.remark), note_extension(resumed.run)};
  std::erase(remarks, "");
  return remarks;
}

std::string Trainer::note_extension(const nlohmann::json& former) {
  Schedule then = schedule_;
  then.total_steps = former.value("total steps", schedule_.total_steps);
  then.warmup_steps = former.value("warmup-steps", schedule_.warmup_steps);
  if (then.total_steps == schedule_.total_steps) return "";
  state_.extended_at.push_back(state_.step);
  std::string remark = fmt::format("extended after step {} from {} steps to {}", state_.step,
                                   then.total_steps, schedule_.total_steps);
  const double before = learning_rate(then, state_.step), now = learning_rate(schedule_, state_.step);
  if (before == now) return remark + fmt::format(": the learning rate stays {:.3g}", now);
  return remark +
         fmt::format(
             ": the learning rate jumps from {:.3g} to {:.3g}, the {} schedule of {} steps from here "
             "on; the result is not that of one training of {} steps",
             before, now, name(schedule_.kind), schedule_.total_steps, schedule_.total_steps);
}

double Trainer::sum_over_data_ranks(double value) {
  return sum_over_ranks(value, groups_.data, model_.backend(), activations_);
}

double Trainer::accumulate(const Batches::Step& batch) {
  // Without any weight there is nothing to learn, and nothing to divide by.
  const double scale = batch.weight > 0 ? 1.0 / batch.weight : 0.0;
  double sum = 0;
  StopAgreement agreement(stop_requested_, groups_, model_.backend(), activations_);
  for (const MicroBatch& microbatch : batch.microbatches) {
    if (agreement.stops()) break;
    sum += step_.accumulate(microbatch, scale, static_cast<std::uint32_t>(state_.step));
  }
  agreement.conclude();
  return sum;
}

StepWork Trainer::work_of(const Batches::Step& batch) {
  double rows = 0, pairs = 0;
  for (const MicroBatch& microbatch : batch.microbatches) {
    rows += static_cast<double>(rows_with_targets(microbatch));
    pairs += static_cast<double>(microbatch.forest.attended_pairs());
  }
  return {batch.tokens, static_cast<std::int64_t>(sum_over_data_ranks(rows)),
          static_cast<std::int64_t>(sum_over_data_ranks(pairs))};
}

StepReport Trainer::step() {
  const Clock clock;
  const double communication_before = timed_groups_.seconds();
  const Batches::Step batch = batches_.step(state_.step, groups_.data.rank());
  StepReport report;
  report.data_seconds = clock.seconds();

  step_.begin();
  const double log_probability = sum_over_data_ranks(accumulate(batch));
  step_.reduce();
  report.loss = batch.weight > 0 ? -log_probability / batch.weight : 0.0;
  report.gradient_norm = step_.gradient_norm();
  report.learning_rate = learning_rate(schedule_, state_.step);
  require<DataError>(std::isfinite(report.loss) && std::isfinite(report.gradient_norm), "step ",
                     state_.step + 1, " has loss ", report.loss, " and gradient norm ", report.gradient_norm,
                     ": lower --learning-rate, or use --precision f32");
  if (config_.log_tensor_norms) {
    const ParameterSet& parameters = model_.parameters();
    for (const Parameter& p : parameters.all()) report.tensor_norms[p.name] = parameters.gradient_norm(p);
  }
  update(report.gradient_norm, report.learning_rate);

  ++state_.step;
  state_.total_tokens += batch.tokens;
  report.step = state_.step;
  report.epoch = batches_.epochs().after(state_.step);
  report.tokens = batch.tokens;
  report.unshared_tokens = batch.unshared_tokens;
  report.flops = training_flops(model_.config(), model_.options(), work_of(batch));
  report.seconds = clock.seconds();
  report.communication_seconds = timed_groups_.seconds() - communication_before;
  return report;
}

// Clipping as torch.nn.utils.clip_grad_norm_ does it, epsilon included.
void Trainer::update(double gradient_norm, double learning_rate) {
  AdamWOptions options = config_.adamw;
  options.learning_rate = learning_rate;
  options.step = state_.step + 1;
  if (config_.max_grad_norm > 0)
    options.gradient_scale = std::min(1.0, config_.max_grad_norm / (gradient_norm + 1e-6));
  step_.update(options, config_.lora_plus_ratio);
}

void Trainer::require_finite_weights() const {
  require<DataError>(std::isfinite(model_.parameters().norm()), "after step ", state_.step,
                     " the trained weights are no finite numbers: ", not_finite_advice);
}

std::string Trainer::differing_replicas() {
  return chorus::differing_replicas(model_, step_.optimizer(), activations_);
}

void Trainer::require_equal_replicas() {
  if (config_.check_replicas == 0 || compared_at_ == state_.step) return;
  const std::string different = differing_replicas();
  require<DataError>(
      different.empty(), "after step ", state_.step,
      " ranks differ in what they must hold alike: ", different,
      "; nothing of this state is saved: start again with --resume auto, on other machines if it "
      "happens again");
  compared_at_ = state_.step;
}

void Trainer::save() {
  if (saved_at_ == state_.step) return;
  require_finite_weights();
  require_equal_replicas();
  store_.write(step_.optimizer(), state_, identity_, activations_);
  saved_at_ = state_.step;
}

bool Trainer::scores_dev_after(std::int64_t step) const {
  if (eval_steps_ == 0) return false;
  return step == total_steps() ||
         (config_.eval_steps ? step % eval_steps_ == 0 : batches_.epochs().end_after(step));
}

// What is due after a step comes first, because a stopped run may go on there.
void Trainer::take_steps(TrainingObserver& observer, TrainingSummary& summary) {
  const Clock clock;
  const double elapsed_before = state_.elapsed;
  for (bool stepped = false;; stepped = true) {
    if (state_.evaluation_due) evaluate_and_keep_best(observer);
    const bool last = is_over();
    if (config_.save_steps > 0 && state_.step > 0 && (last || state_.step % config_.save_steps == 0)) save();
    if (last) return;
    if (stepped && out_of_time(clock.seconds())) return save();
    const StepReport report = step();
    if (config_.check_replicas > 0 && state_.step % config_.check_replicas == 0) require_equal_replicas();
    state_.elapsed = elapsed_before + clock.seconds();
    state_.evaluation_due = scores_dev_after(state_.step);
    summary.last_loss = report.loss;
    summary.tokens += report.tokens;
    summary.unshared_tokens += report.unshared_tokens;
    observer.step_done(report, total_steps());
  }
}

TrainingSummary Trainer::run(TrainingObserver& observer) {
  const Clock clock;
  TrainingSummary summary;
  if (resumed_from_) {
    store_.set_aside_after(state_.step);
    store_.restore_best(*resumed_from_, state_);
  }
  try {
    take_steps(observer, summary);
  } catch (const Interrupted&) {
    summary.interrupted = true;
    save();
  }
  summary.finished = is_over() && !summary.interrupted;
  summary.stopped_early = summary.finished && state_.step < total_steps();
  if (summary.finished && !state_.best_metric) {
    require_finite_weights();
    require_equal_replicas();
  }
  if (summary.finished) store_.write_result(state_, activations_);
  summary.state = state_;
  summary.seconds = clock.seconds();
  return summary;
}

void Trainer::evaluate_and_keep_best(TrainingObserver& observer) {
  const Evaluation evaluation = evaluate(
      model_, *dev_, config_.batches, activations_,
      [&](std::int64_t done, std::int64_t total) { observer.evaluating(done, total); }, stop_requested_);
  const double metric = score_of(dev_metric_, evaluation);
  const bool is_best = !state_.best_metric || metric > *state_.best_metric;
  if (is_best) {
    require_equal_replicas();
    state_.best_metric = metric;
    state_.best_step = state_.step;
    store_.write_best(activations_);
  }
  state_.scorings_since_best = is_best ? 0 : state_.scorings_since_best + 1;
  state_.evaluation_due = false;
  observer.evaluated(state_, evaluation,
                     {.is_best = is_best, .ends_training = is_over() && state_.step < total_steps()});
}

// One clock decides, so that all ranks stop after the same step.
bool Trainer::out_of_time(double elapsed) {
  if (config_.max_time <= 0) return false;
  const std::int32_t over = groups_.world.rank() == 0 && elapsed >= config_.max_time ? 1 : 0;
  return sum_over_ranks(over, groups_.world, model_.backend(), activations_) > 0;
}

}  // namespace chorus
