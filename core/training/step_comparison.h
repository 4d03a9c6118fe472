#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/training/trainer.h"

namespace chorus {

// Whole tensors on the host, by name.
using TensorsByName = std::map<std::string, std::vector<float>>;

// One optimizer step of a training.
struct RecordedStep {
  double loss = 0, gradient_norm = 0;
  TensorsByName gradients;         // reduced, before clipping
  TensorsByName weights;           // after the update, gathered as a file gets them
  std::string differing_replicas;  // after the update, by the function of this name
};

struct RecordedSteps {
  TensorsByName start;  // weights before the first step
  std::vector<RecordedStep> steps;

  const TensorsByName& before(std::size_t step) const { return step == 0 ? start : steps[step - 1].weights; }
};

// How far two computations of one quantity are from each other.
struct Agreement {
  std::string quantity;
  double worst = 0;        // difference, relative; not finite where a number is not
  std::string where = {};  // that is; empty where nothing differs
  double bound = 0;

  bool holds() const { return worst <= bound; }
};

// What rounding may make of one step, as shares: of the loss, of the norm, of the largest element of a gradient, and of the
// length of a tensor's update.
struct StepBounds {
  double loss = 0, gradient_norm = 0, gradient = 0, update = 0;
};
// Of two computations of one step that differ in how sums are cut, for a model of so many layers.
StepBounds step_bounds(DType precision, std::int64_t layers);

// Collects the differences of steps, the worst of each quantity.
class StepComparison {
 public:
  explicit StepComparison(const StepBounds& bounds);

  // Weights before the first step, which must have the same bits.
  void start(const TensorsByName& reference, const TensorsByName& other);
  // Step `number`, from 1, of two trainings that had the weights `before` before it.
  void step(std::int64_t number, const TensorsByName& before, const RecordedStep& reference,
            const RecordedStep& other);

  const std::vector<Agreement>& agreements() const { return agreements_; }

 private:
  void see(std::string_view quantity, double difference, const std::string& where);

  std::vector<Agreement> agreements_;
};

// A line each, below a title.
std::string to_table(const std::vector<Agreement>& agreements);

// Takes so many steps and keeps what they did. For one rank alone.
RecordedSteps record_steps(Trainer& trainer, const Model& model, Arena& arena, std::int64_t steps);

// Takes the steps of `reference`, each from the weights that the reference had before it: so a difference is of this
// step, and its bound need not grow. Collective; only the first rank has the reference, and gets agreements.
std::vector<Agreement> compare_steps(const RecordedSteps& reference, std::int64_t steps, Trainer& trainer,
                                     Model& model, Arena& arena);

}  // namespace chorus
