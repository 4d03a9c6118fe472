#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/model/adapters.h"
#include "core/model/llama.h"
#include "core/model/projector.h"

namespace chorus {

// What is trained, scored and asked: a base, and what is added to it, which several models can do with one base. Passes are
// those of Llama.
class Model {
 public:
  // Adds options.lora and options.projector, or trains the base itself with options.train_base, and takes memory for what
  // is trained from `arena`; contents are set by the functions below, and those of a trained base by its load(). All must
  // outlive the model.
  Model(Llama& base, const ModelOptions& options, Arena& arena);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // Of options.lora and options.projector.
  Adapters& adapters();
  Projector& projector();
  // As Projector does it.
  void initialise_projector() { projector().initialise(options_.seed); }
  void load_projector(const SavedProjector& saved);

  Llama& base() { return base_; }
  const Llama& base() const { return base_; }
  const ModelConfig& config() const { return base_.config(); }
  const ModelOptions& options() const { return options_; }
  ParameterSet& parameters() { return parameters_; }
  const ParameterSet& parameters() const { return parameters_; }

  Backend& backend() const { return base_.backend(); }
  const Groups& groups() const { return base_.groups(); }

  // As the passes take it.
  DeviceBatch upload(const MicroBatch& batch, Arena& arena) const {
    return chorus::upload(batch, backend(), arena, options_.precision, base_.token_multiple());
  }
  std::vector<LayerCache> take_caches(std::int64_t sequences, std::int64_t length, Arena& arena) const {
    return base_.take_caches(sequences, length, arena);
  }

  void score(Tensor log_probability, const DeviceBatch& batch, Arena& arena) const {
    base_.score(log_probability, batch, additions(), arena);
  }
  void score_and_backward(Tensor log_probability, const DeviceBatch& batch, double scale, std::uint32_t step,
                          Arena& arena) const {
    base_.score_and_backward(log_probability, batch, additions(), scale, step, arena);
  }
  Llama::Kept kept_for_backward(const DeviceBatch& batch) const {
    return base_.kept_for_backward(batch, additions());
  }
  std::vector<float> logits(const DeviceBatch& batch, const std::optional<CacheAccess>& access,
                            std::span<const LayerCache> caches, Arena& arena) const {
    return base_.logits(batch, additions(), access, caches, arena);
  }
  std::vector<float> hidden_states(const DeviceBatch& batch, Arena& arena) const {
    return base_.hidden_states(batch, additions(), arena);
  }

 private:
  Additions additions() const {
    return {adapters_ ? &*adapters_ : nullptr, projector_ ? &*projector_ : nullptr};
  }

  Llama& base_;
  ModelOptions options_;
  ParameterSet parameters_;
  std::optional<Adapters> adapters_;
  std::optional<Projector> projector_;
};

}  // namespace chorus
