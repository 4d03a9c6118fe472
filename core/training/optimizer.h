#pragma once

#include <nlohmann/json_fwd.hpp>

#include "ops/memory.h"
#include "parallel/parameters.h"

namespace chorus {

// The constants, by the names of the options; not what every step has of its own.
nlohmann::ordered_json identity(const AdamWOptions& options);

// AdamW over all trained parameters of a rank. Moments are held like the masters.
class AdamW {
 public:
  AdamW(Backend& backend, ParameterSet& parameters, DType precision, Arena& arena);

  // One update of masters and values from the reduced gradients. The rate of factors B is ratio_of_b times that of all else
  // (Hayou et al. 2024, LoRA+); where that is 1, all are updated at once.
  void update(const AdamWOptions& options, double ratio_of_b = 1);

  Tensor first_moments() const { return m_; }
  Tensor second_moments() const { return v_; }

 private:
  Backend& backend_;
  ParameterSet& parameters_;
  Tensor m_, v_;
};

}  // namespace chorus
