#pragma once

#include <cstdint>

#include "core/model/model.h"
#include "core/training/optimizer.h"

namespace chorus {

// One optimizer step of a model, as a training takes it, a plan prices it, and a benchmark measures it:
//
//   begin(), accumulate() for every micro-batch of this rank, reduce(), update()
class TrainingStep {
 public:
  // Takes memory for the moments from `optimizer`, and for passes from `activations`. All must outlive this.
  TrainingStep(Model& model, Arena& optimizer, Arena& activations);

  // Forgets all gradients, also those of a step that was broken off.
  void begin();
  // Adds the gradient of - scale · sum of weight · log_probability over the targets, with dropout of step `number`. Returns
  // that sum, unscaled.
  double accumulate(const MicroBatch& batch, double scale, std::uint32_t number);
  // The same of a batch that is on the device. Returns log_probability, acc [T], in new memory of the activations.
  Tensor accumulate(const DeviceBatch& batch, double scale, std::uint32_t number);
  // Sums the gradients over the ranks.
  void reduce();
  // Of the reduced gradients of all ranks, before clipping.
  double gradient_norm() const;
  // As AdamW does it.
  void update(const AdamWOptions& options, double ratio_of_b = 1);

  AdamW& optimizer() { return optimizer_; }

 private:
  Model& model_;
  Arena& activations_;
  AdamW optimizer_;
};

}  // namespace chorus
