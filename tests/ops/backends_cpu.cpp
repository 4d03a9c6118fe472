#include "ops/cpu/cpu_backend.h"
#include "tests/ops/operator_test.h"

namespace chorus {

std::vector<BackendUnderTest> backends_under_test() {
  std::vector<BackendUnderTest> backends{{"cpu", [] { return std::make_unique<CpuBackend>(2); }}};
  for (const Bf16Products products : possible_bf16_products()) {
    if (products == fastest_bf16_products()) continue;
    backends.push_back({products == Bf16Products::through_f32 ? "cpu_bf16_through_f32" : "cpu_bf16_native",
                        [products] { return std::make_unique<CpuBackend>(2, products); }});
  }
  return backends;
}

}  // namespace chorus
