#include "ops/cuda/cuda_backend.h"
#include "tests/ops/operator_test.h"

namespace chorus {

std::vector<BackendUnderTest> backends_under_test() {
  return {{"cuda", [] { return std::make_unique<CudaBackend>(); }}};
}

}  // namespace chorus
