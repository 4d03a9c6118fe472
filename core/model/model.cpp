#include "core/model/model.h"

namespace chorus {

Model::Model(Llama& base, const ModelOptions& options, Arena& arena)
    : base_(base), options_(options), parameters_(base.backend(), base.groups(), options.precision) {
  if (options.train_base) base.train(parameters_);
  if (options.lora) {
    adapters_.emplace(*options.lora, base.config(), options.seed, base.division(), base.backend(),
                      base.groups().tensor, parameters_);
  }
  if (options.projector)
    projector_.emplace(*options.projector, base.config().hidden_size, base.backend(), parameters_);
  if (!parameters_.all().empty()) parameters_.allocate(arena);
}

Adapters& Model::adapters() {
  require(adapters_.has_value(), "the adapters of a model without");
  return *adapters_;
}

Projector& Model::projector() {
  require(projector_.has_value(), "the projector of a model without");
  return *projector_;
}

void Model::load_projector(const SavedProjector& saved) {
  require_fits(saved, config());
  projector().load(saved.file);
}

}  // namespace chorus
