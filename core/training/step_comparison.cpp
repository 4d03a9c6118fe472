#include "core/training/step_comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/transfer.h"

namespace chorus {

namespace {

constexpr std::string_view start_row = "weights at the start", loss_row = "loss", norm_row = "gradient norm",
                           gradient_row = "gradients", update_row = "updated weights, as written",
                           replica_row = "copies on ranks";

// 0 of equal numbers, also of zeros.
double share(double difference, double whole) { return difference == 0 ? 0 : difference / whole; }

double relative(double reference, double other) {
  return share(std::abs(other - reference), std::abs(reference));
}

// Largest difference of an element, as a share of the largest element.
double of_largest(const std::vector<float>& reference, const std::vector<float>& other) {
  if (reference.size() != other.size()) return std::numeric_limits<double>::infinity();
  double largest = 0, difference = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double a = reference[i], b = other[i];
    if (!std::isfinite(a) || !std::isfinite(b)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, std::abs(a));
    difference = std::max(difference, std::abs(b - a));
  }
  return share(difference, largest);
}

// ‖other - reference‖ / ‖reference - before‖
double of_update(const std::vector<float>& before, const std::vector<float>& reference,
                 const std::vector<float>& other) {
  if (reference.size() != other.size()) return std::numeric_limits<double>::infinity();
  double update = 0, difference = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double a = reference[i];
    update += std::pow(a - before[i], 2);
    difference += std::pow(other[i] - a, 2);
  }
  return share(std::sqrt(difference), std::sqrt(update));
}

// Calls visit(name, of reference, of other); a tensor that `other` has not is empty.
template <typename Visitor>
void for_each_tensor(const TensorsByName& reference, const TensorsByName& other, Visitor visit) {
  static const std::vector<float> none;
  for (const auto& [name, values] : reference) {
    const auto found = other.find(name);
    visit(name, values, found == other.end() ? none : found->second);
  }
}

TensorsByName gather(const Model& model, Tensor flat, Arena& arena) {
  const ParameterSet& parameters = model.parameters();
  TensorsByName tensors;
  for (const Parameter& parameter : parameters.all()) {
    std::vector<float> full = parameters.gather(parameter, flat, arena);
    if (model.groups().world.rank() == 0) tensors[parameter.name] = std::move(full);
  }
  return tensors;
}

RecordedStep take_step(Trainer& trainer, const Model& model, Arena& arena) {
  const StepReport report = trainer.step();
  RecordedStep step;
  step.loss = report.loss;
  step.gradient_norm = report.gradient_norm;
  step.gradients = gather(model, model.parameters().gradients(), arena);
  step.weights = gather(model, model.parameters().masters(), arena);
  step.differing_replicas = trainer.differing_replicas();
  return step;
}

// Those of the first rank, to all.
void give_weights(const TensorsByName& weights, Model& model, Arena& arena) {
  Communicator& world = model.groups().world;
  for (Parameter& parameter : model.parameters().all()) {
    Arena::Scope scope(arena);
    const Tensor full = arena.take(parameter.master.dtype(), parameter.full);
    if (world.rank() == 0) upload_floats(model.backend(), full, weights.at(parameter.name));
    world.broadcast(full, 0);
    model.parameters().assign(parameter, download_floats(model.backend(), full));
  }
}

std::string print_share(double share) { return share == 0 ? "0" : fmt::format("{:.1e}", share); }

}  // namespace

StepBounds step_bounds(DType precision, std::int64_t layers) {
  // Roundings of an element on its way through a block, forward and backward, which add like their squares; in f32 those
  // of sums as well, some hundred elements long where a kernel cuts them.
  constexpr double roundings_of_block = 16, sum = 256;
  const double unit = precision == DType::bf16 ? 0x1p-9 : 0x1p-24 * std::sqrt(sum);
  const double rounding = unit * std::sqrt(roundings_of_block * static_cast<double>(layers));
  // The farthest of all elements of a gradient is some deviations out. AdamW's first steps have the size of the rate
  // wherever a gradient is not exactly 0, so that of elements that are nearly 0, a share of a few `rounding`, each may be
  // off by twice its update.
  return {2 * rounding, 2 * rounding, 8 * rounding, 4 * std::sqrt(rounding)};
}

StepComparison::StepComparison(const StepBounds& bounds)
    : agreements_{{std::string(start_row)},
                  {std::string(loss_row), 0, "", bounds.loss},
                  {std::string(norm_row), 0, "", bounds.gradient_norm},
                  {std::string(gradient_row), 0, "", bounds.gradient},
                  {std::string(update_row), 0, "", bounds.update},
                  {std::string(replica_row)}} {}

// What is no number is worst, and stays.
void StepComparison::see(std::string_view quantity, double difference, const std::string& where) {
  const auto row = std::ranges::find(agreements_, quantity, &Agreement::quantity);
  if (std::isnan(difference)) difference = std::numeric_limits<double>::infinity();
  if (difference <= row->worst) return;
  row->worst = difference;
  row->where = where;
}

void StepComparison::start(const TensorsByName& reference, const TensorsByName& other) {
  for_each_tensor(reference, other, [&](const std::string& name, const auto& a, const auto& b) {
    see(start_row, of_largest(a, b), name);
  });
}

void StepComparison::step(std::int64_t number, const TensorsByName& before, const RecordedStep& reference,
                          const RecordedStep& other) {
  const std::string step = fmt::format("step {}", number);
  see(loss_row, relative(reference.loss, other.loss), step);
  see(norm_row, relative(reference.gradient_norm, other.gradient_norm), step);
  for_each_tensor(reference.gradients, other.gradients,
                  [&](const std::string& name, const auto& a, const auto& b) {
                    see(gradient_row, of_largest(a, b), step + ", " + name);
                  });
  for_each_tensor(reference.weights, other.weights,
                  [&](const std::string& name, const auto& a, const auto& b) {
                    see(update_row, of_update(before.at(name), a, b), step + ", " + name);
                  });
  if (!other.differing_replicas.empty())
    see(replica_row, std::numeric_limits<double>::infinity(), step + ", " + other.differing_replicas);
}

std::string to_table(const std::vector<Agreement>& agreements) {
  std::string table = fmt::format("{:<28}{:>10}{:>9}\n", "", "difference", "bound");
  for (const Agreement& row : agreements)
    table += fmt::format("{:<28}{:>10}{:>9}  {:<6}  {}\n", row.quantity, print_share(row.worst),
                         print_share(row.bound), row.holds() ? "holds" : "BROKEN",
                         row.where.empty() ? "-" : row.where);
  return table;
}

RecordedSteps record_steps(Trainer& trainer, const Model& model, Arena& arena, std::int64_t steps) {
  RecordedSteps recorded{gather(model, model.parameters().masters(), arena), {}};
  while (std::ssize(recorded.steps) < steps) recorded.steps.push_back(take_step(trainer, model, arena));
  return recorded;
}

std::vector<Agreement> compare_steps(const RecordedSteps& reference, std::int64_t steps, Trainer& trainer,
                                     Model& model, Arena& arena) {
  const bool is_first = model.groups().world.rank() == 0;
  StepComparison comparison(step_bounds(model.options().precision, model.config().layers));
  const TensorsByName start = gather(model, model.parameters().masters(), arena);
  if (is_first) comparison.start(reference.start, start);
  for (std::int64_t number = 1; number <= steps; ++number) {
    const auto i = static_cast<std::size_t>(number - 1);
    give_weights(is_first ? reference.before(i) : start, model, arena);
    const RecordedStep step = take_step(trainer, model, arena);
    if (is_first) comparison.step(number, reference.before(i), reference.steps[i], step);
  }
  return comparison.agreements();
}

}  // namespace chorus
