#pragma once

#include "core/formats/model_tensors.h"
#include "ops/backend.h"

namespace chorus {

// Values between -bound and bound: random, so that a GPU's power and clocks are those of real work; one block over and
// over, so that it is made soon.
void fill_random(Backend& backend, Tensor tensor, double bound);
// All codes, and one scale for them.
void fill_random(Backend& backend, const QuantisedMatrix& part, double bound);
// A base's weights, by role, bounded so that activations stay near 1 through many layers.
void fill_weight(Backend& backend, const ModelTensor& tensor, Tensor part);
void fill_weight(Backend& backend, const ModelTensor& tensor, const QuantisedMatrix& part);

}  // namespace chorus
