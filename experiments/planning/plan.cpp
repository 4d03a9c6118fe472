#include "experiments/planning/plan.h"

#include <algorithm>
#include <memory>

#include "core/training/training_step.h"
#include "ops/attention_tiles.h"
#include "ops/device_memory.h"

namespace chorus {

namespace {

// Above so many data ranks a few of them stand for all: dividing a step costs more the more there are.
constexpr int most_ranks = 64, ranks_instead = 16;
constexpr std::int64_t most_counted_steps = 512;

double tile_list_bytes(const Forest& forest) {
  return static_cast<double>(device_memory::tile_lists(AttentionTiles(forest).bytes()));
}

// One rank that runs the code of a training step, priced.
class PricedRank {
 public:
  PricedRank(const PlanRequest& request, const ProcessGrid& grid)
      : places_(places_of(grid, request.machine.gpus_per_node)),
        backend_(request.machine, price_),
        world_(request.machine, price_, PricedCommunicator::Use::gradient, places_.world, grid.rank,
               grid.size()),
        data_(request.machine, price_, PricedCommunicator::Use::gradient, places_.data, grid.data_rank(),
              grid.data_size),
        tensor_(request.machine, price_, PricedCommunicator::Use::tensor, places_.tensor, grid.tensor_rank(),
                grid.tensor_size),
        base_(request.model, request.options, backend_, {grid, world_, data_, tensor_}, memory_),
        model_(base_, request.options, memory_),
        step_(model_, memory_, activations_) {}

  Price microbatches(const std::vector<MicroBatch>& batches) {
    price_ = {};
    for (const MicroBatch& batch : batches) step_.accumulate(batch, 1, 0);
    return price_;
  }

  // Sums of gradients, their norm, the update, and three sums of one number that Trainer::step() makes.
  Price update() {
    price_ = {};
    step_.begin();
    step_.reduce();
    step_.gradient_norm();
    step_.update({});
    Arena::Scope scope(activations_);
    const Tensor number = activations_.take(DType::f64, {1});
    for (int sum = 0; sum < 3; ++sum) data_.all_reduce(number);
    return price_;
  }

 private:
  Price price_;
  GridPlaces places_;
  PricedBackend backend_;
  PricedCommunicator world_, data_, tensor_;
  Arena memory_ = Arena::measuring(), activations_ = Arena::measuring();
  Llama base_;
  Model model_;
  TrainingStep step_;
};

std::vector<std::int64_t> evenly_spread(std::int64_t count, std::int64_t most) {
  const std::int64_t chosen = std::min(count, most);
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < chosen; ++i) indices.push_back(i * count / chosen);
  return indices;
}

// What is looked at takes all trees.
BatchOptions whole_epoch(const PlanRequest& request) {
  BatchOptions options = request.train.batches;
  options.curriculum = 1;
  return options;
}

EpochWork epoch_work(const PlanRequest& request, const DataSplit& data, bool prefix_sharing) {
  BatchOptions options = whole_epoch(request);
  options.prefix_sharing = prefix_sharing;
  const Batches batches(data, options);
  EpochWork work;
  for (const std::int64_t step : evenly_spread(batches.steps_per_epoch(), most_counted_steps)) {
    const Batches::Step batch = batches.step(step, 0);
    work.samples += static_cast<double>(batch.samples);
    work.tokens += static_cast<double>(batch.tokens);
    for (const MicroBatch& microbatch : batch.microbatches) {
      work.rows += static_cast<double>(rows_with_targets(microbatch));
      work.pairs += static_cast<double>(microbatch.forest.attended_pairs());
    }
  }
  const auto samples = static_cast<double>(request.samples_per_epoch.value_or(data.samples()));
  const double all = samples / work.samples;
  work.samples = samples;
  work.tokens *= all;
  work.rows *= all;
  work.pairs *= all;
  work.steps =
      static_cast<double>((static_cast<std::int64_t>(samples) + request.train.batches.batch_size - 1) /
                          request.train.batches.batch_size);
  work.flops = training_flops(request.model, request.options,
                              {static_cast<std::int64_t>(work.tokens), static_cast<std::int64_t>(work.rows),
                               static_cast<std::int64_t>(work.pairs)});
  return work;
}

bool divides(const ModelConfig& model, int tensor) {
  return model.query_heads % tensor == 0 && model.key_value_heads % tensor == 0 &&
         model.intermediate_size % tensor == 0;
}

std::vector<int> tensor_sizes(const PlanRequest& request, int ranks) {
  if (request.tensor_parallel) {
    require_tensor_parallel(request.model, *request.tensor_parallel);
    if (ranks % *request.tensor_parallel != 0) return {};
    return {*request.tensor_parallel};
  }
  std::vector<int> sizes;
  for (int size = 1; size <= std::min(ranks, request.machine.gpus_per_node); size *= 2) {
    if (ranks % size == 0 && divides(request.model, size)) sizes.push_back(size);
  }
  return sizes;
}

// What the steps looked at take, by the slowest data rank of each.
void price_steps(GridPlan& plan, const PlanRequest& request, const DataSplit& data) {
  PricedRank rank(request, make_grid(plan.ranks, plan.tensor, 0));
  const Batches batches(data, whole_epoch(request), plan.data);
  const std::vector<std::int64_t> steps = evenly_spread(batches.steps_per_epoch(), request.sampled_steps);
  const std::vector<std::int64_t> looked_at =
      evenly_spread(plan.data, plan.data > most_ranks ? ranks_instead : plan.data);
  plan.ranks_looked_at = static_cast<int>(looked_at.size());
  const double of_all = static_cast<double>(plan.data) / plan.ranks_looked_at;
  double rows = 0, pairs = 0;
  for (const std::int64_t step : steps) {
    Price busiest;
    double sum = 0;
    for (const std::int64_t data_rank : looked_at) {
      const Batches::Step batch = batches.step(step, static_cast<int>(data_rank));
      const Price price = rank.microbatches(batch.microbatches);
      sum += price.seconds;
      if (price.seconds > busiest.seconds) busiest = price;
      for (const MicroBatch& microbatch : batch.microbatches) {
        rows += of_all * static_cast<double>(rows_with_targets(microbatch));
        pairs += of_all * static_cast<double>(microbatch.forest.attended_pairs());
        if (request.machine.gpu)
          plan.beside.tile_lists = std::max(plan.beside.tile_lists, tile_list_bytes(microbatch.forest));
      }
      if (data_rank != 0) continue;
      plan.step_tokens += static_cast<double>(batch.tokens);
      plan.step_unshared_tokens += static_cast<double>(batch.unshared_tokens);
    }
    plan.microbatches += busiest;
    plan.idle_seconds += std::max(0.0, busiest.seconds - sum / plan.ranks_looked_at);  // rounding
  }
  const double share = 1.0 / static_cast<double>(steps.size());
  plan.microbatches *= share;
  plan.idle_seconds *= share;
  plan.step_tokens *= share;
  plan.step_unshared_tokens *= share;
  plan.update = rank.update();
  plan.step_seconds = plan.microbatches.seconds + plan.update.seconds;
  plan.step_flops =
      training_flops(request.model, request.options,
                     {static_cast<std::int64_t>(plan.step_tokens), static_cast<std::int64_t>(rows * share),
                      static_cast<std::int64_t>(pairs * share)});
}

void plan_device_memory(GridPlan& plan, const PlanRequest& request) {
  plan.memory = memory_kinds(request.model, request.options, make_grid(plan.ranks, plan.tensor, 0),
                             {.tokens = request.train.batches.tokens_per_microbatch, .training = true},
                             request.in_place);
  if (request.machine.gpu)
    plan.beside.workspace = static_cast<double>(device_memory::workspace(
        request.train.batches.tokens_per_microbatch * request.model.query_heads / plan.tensor));
  const int groups = (plan.ranks > 1 ? 1 : 0) + (plan.data > 1 ? 1 : 0) + (plan.tensor > 1 ? 1 : 0);
  plan.beside.communicators = groups * request.machine.communicator_bytes;
  plan.beside.reserved = request.machine.reserved_bytes;
  plan.fits = static_cast<double>(plan.memory.total()) + plan.beside.total() <= request.machine.memory_bytes;
}

GridPlan plan_grid(const PlanRequest& request, const DataSplit& data, const EpochWork& work, double steps,
                   int ranks, int tensor) {
  GridPlan plan;
  plan.ranks = ranks;
  plan.tensor = tensor;
  plan.data = ranks / tensor;
  price_steps(plan, request, data);
  plan_device_memory(plan, request);
  plan.epoch_seconds = plan.step_seconds * work.steps;
  plan.run_seconds = plan.step_seconds * steps;
  plan.device_hours = plan.run_seconds * ranks / 3600;
  plan.peak_share = plan.step_flops / plan.step_seconds /
                    (ranks * request.machine.peak_flops(request.train.model.precision));
  return plan;
}

template <typename Measure>
std::optional<std::size_t> least(const std::vector<GridPlan>& grids, const Measure& measure) {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < grids.size(); ++i) {
    if (grids[i].fits && (!best || measure(grids[i]) < measure(grids[*best]))) best = i;
  }
  return best;
}

Epochs epochs_of(const PlanRequest& request, const DataSplit& data) {
  const BatchOptions& options = request.train.batches;
  if (!request.samples_per_epoch) return Batches(data, options).epochs();
  require<ConfigurationError>(options.curriculum == 1, "--curriculum ", options.curriculum,
                              " divides the trees of --data, and --samples has none: leave one of them out");
  return {{*request.samples_per_epoch}, options.batch_size};
}

}  // namespace

Plan make_plan(const PlanRequest& asked, const DataSplit& data) {
  PlanRequest request = asked;
  request.options = model_options(request.train, data.features(), request.model);
  validate(request.train);
  require<ConfigurationError>(data.origin().vocabulary_size <= request.model.vocabulary_size,
                              "the data was prepared for ", data.origin().vocabulary_size,
                              " tokens, the model has ", request.model.vocabulary_size,
                              ": plan with the base it was prepared for");
  require<ConfigurationError>(data.longest_sample() <= request.model.longest_text(), "the longest sample is ",
                              data.longest_sample(), " tokens long, the model has ",
                              request.model.bound_of_texts());
  Plan plan;
  plan.request = request;
  plan.shared = epoch_work(request, data, request.train.batches.prefix_sharing);
  plan.unshared = epoch_work(request, data, false);
  const auto steps = static_cast<double>(total_steps(request.train, epochs_of(request, data)));
  plan.epochs = steps / plan.shared.steps;
  for (const int ranks : request.ranks) {
    for (const int tensor : tensor_sizes(request, ranks))
      plan.grids.push_back(plan_grid(request, data, plan.shared, steps, ranks, tensor));
  }
  require<ConfigurationError>(!plan.grids.empty(), "no grid to plan: --tensor-parallel ",
                              request.tensor_parallel.value_or(1), " divides none of --ranks");
  plan.cheapest = least(plan.grids, [](const GridPlan& grid) { return grid.device_hours; });
  plan.fastest = least(plan.grids, [](const GridPlan& grid) { return grid.run_seconds; });
  return plan;
}

Dataset even_dataset(std::int64_t samples, std::int64_t length, std::int64_t targets,
                     std::int64_t vocabulary) {
  DatasetOrigin origin;
  origin.corpora = {"even"};
  origin.split = "train";
  origin.vocabulary_size = static_cast<std::int32_t>(vocabulary);
  DatasetBuilder builder(origin);
  // The last token is asked for and takes no row.
  GroupSample sample;
  sample.sequence.tokens.assign(static_cast<std::size_t>(length + 1), 0);
  sample.sequence.labels = sample.sequence.tokens;
  std::fill_n(sample.sequence.labels.begin(), length + 1 - targets, unsupervised);
  for (std::int64_t i = 0; i < samples; ++i) builder.add_group(std::span(&sample, 1), "an even sample");
  return builder.finish();
}

}  // namespace chorus
