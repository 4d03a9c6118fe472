#include "ops/cpu/cpu_backend.h"
#include "tests/ops/operator_test.h"

namespace chorus {

std::vector<BackendUnderTest> backends_under_test() {
  return {{"cpu", [] { return std::make_unique<CpuBackend>(2); }}};
}

}  // namespace chorus
