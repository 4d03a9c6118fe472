#include <algorithm>

#include "core/model/flops.h"
#include "core/planning/model_setup.h"
#include "core/training/training_step.h"
#include "experiments/planning/benchmark.h"
#include "experiments/planning/random_values.h"
#include "experiments/planning/stopwatch.h"
#include "experiments/planning/timed_backend.h"

namespace chorus {

namespace {

ModelOptions with_adapters(const BenchmarkShape& shape) {
  ModelOptions options = shape.options;
  options.lora = shape.lora;
  return options;
}

// A model with random weights on the given device, and the parts of its training step. Its calls can be timed.
class StepBenchmark {
 public:
  StepBenchmark(const BenchmarkShape& shape, Backend& device, Groups given, StreamClock& clock,
                double least_seconds)
      : shape_(shape),
        options_(with_adapters(shape)),
        times_(clock),
        backend_(device, times_),
        world_(given.world, times_),
        data_(given.data, times_),
        tensor_(given.tensor, times_),
        base_(shape.model, options_, backend_, {given.grid, world_, data_, tensor_}),
        setup_(base_, options_, {.tokens = shape.tokens, .training = true}),
        step_(setup_.model, setup_.optimizer, setup_.activations),
        batch_(dialogues(shape)),
        agreements_(backend_, 1 << 10, "stopwatch"),
        watch_(backend_, world_, agreements_, least_seconds) {
    base_.llama.fill(
        [&](const ModelTensor& tensor, Tensor part) { fill_weight(backend_, tensor, part); },
        [&](const ModelTensor& tensor, const QuantisedMatrix& part) { fill_weight(backend_, tensor, part); });
    setup_.model.adapters().initialise();
    const StepWork work{shape.tokens, std::ssize(batch_.targets), batch_.forest.attended_pairs()};
    flops_ = training_flops(shape.model, options_, work) / given.grid.tensor_size;
  }

  std::vector<Measurement> run() {
    measure("forward", 0, [&] { score(); });
    measure("forward and backward", flops_, [&] { compute(); });
    measure("sum of gradients", 0, [&] { step_.reduce(); });
    measure("norm and update", 0, [&] { update(); });
    measure("whole", flops_, [&] { whole(); });
    time_calls();
    return std::move(measurements_);
  }

 private:
  void score() {
    Arena& arena = setup_.activations;
    Arena::Scope scope(arena);
    const DeviceBatch batch = setup_.model.upload(batch_, arena);
    const Shape targets{std::ssize(batch_.targets)};
    setup_.model.score(arena.take(accumulator(options_.precision), targets), batch, arena);
  }

  void compute() { step_.accumulate(batch_, 1e-3, 0); }

  void update() {
    step_.gradient_norm();
    step_.update({.learning_rate = 1e-6});
    step_.begin();
  }

  void whole() {
    compute();
    step_.reduce();
    update();
  }

  void add(const std::string& name, double seconds, double flops) {
    const std::string what = fmt::format("{} layers, {} tokens a rank", shape_.model.layers, shape_.tokens);
    measurements_.push_back({"training step", name, what, seconds, 0, flops});
  }

  void measure(const std::string& name, double flops, const std::function<void()>& call) {
    add(name, watch_.seconds_per_call(call), flops);
  }

  void time_calls() {
    const auto timed = [&] {
      times_.begin();
      whole();
      times_.end();
    };
    timed();
    times_.forget();  // what is made once: events
    watch_.seconds_per_call(timed);
    const auto steps = static_cast<double>(times_.runs());
    add("whole, each call timed", times_.seconds() / steps, flops_);
    add_calls(steps);
  }

  // Of one step of those that were timed, the longest first.
  void add_calls(double steps) {
    std::vector<CallTimes::Total> totals = times_.totals();
    std::ranges::stable_sort(totals, std::ranges::greater(), &CallTimes::Total::seconds);
    for (const CallTimes::Total& total : totals) {
      const auto calls = static_cast<double>(total.calls);
      measurements_.push_back({step_group, total.name, total.shape, total.seconds / calls,
                               total.bytes / calls, total.flops / calls, calls / steps});
    }
    measurements_.push_back({step_group, "between calls", "", times_.seconds_between() / steps, 0, 0, 1});
  }

  const BenchmarkShape& shape_;
  ModelOptions options_;
  CallTimes times_;
  TimedBackend backend_;
  CallTimingCommunicator world_, data_, tensor_;
  BaseSetup base_;
  ModelSetup setup_;
  TrainingStep step_;
  MicroBatch batch_;
  Arena agreements_;
  Stopwatch watch_;
  double flops_ = 0;  // of a step, on one rank
  std::vector<Measurement> measurements_;
};

}  // namespace

std::vector<Measurement> measure_training_step(const BenchmarkShape& shape, Backend& device, Groups groups,
                                               StreamClock& clock, double least_seconds) {
  return StepBenchmark(shape, device, groups, clock, least_seconds).run();
}

}  // namespace chorus
