#pragma once

#include <nlohmann/json_fwd.hpp>

#include "ops/backend.h"
#include "parallel/parameters.h"

namespace chorus {

// The constants, by the names of the options; not what every step has of its own.
nlohmann::ordered_json identity(const AdamWOptions& options);

// AdamW over all trained parameters of a rank at once. Moments are held like the masters.
class AdamW {
 public:
  AdamW(Backend& backend, ParameterSet& parameters, DType precision, Arena& arena);

  // One update of masters and values from the reduced gradients.
  void update(const AdamWOptions& options);

  Tensor first_moments() const { return m_; }
  Tensor second_moments() const { return v_; }

 private:
  Backend& backend_;
  ParameterSet& parameters_;
  Tensor m_, v_;
};

}  // namespace chorus
