#include "core/planning/model_setup.h"

namespace chorus {

BaseSetup::BaseSetup(const ModelConfig& config, const ModelOptions& options, Backend& backend,
                     const Groups& groups, const StoredWeights& stored)
    : in_place(stored),
      weights(backend, plan_weights(config, options, groups.grid, stored), "weight"),
      llama(config, options, backend, groups, weights, stored) {}

ModelSetup::ModelSetup(BaseSetup& setup, const ModelOptions& options, const PassLimits& limits)
    : plan(plan_memory(setup.llama.config(), options, setup.llama.groups().grid, limits, setup.in_place)),
      parameters(setup.llama.backend(), plan.parameters, "parameter"),
      optimizer(setup.llama.backend(), plan.optimizer, "optimizer"),
      activations(setup.llama.backend(), plan.activations, "activation"),
      model(setup.llama, options, parameters) {}

}  // namespace chorus
