#include "ops/planning_backend.h"

#include <gmock/gmock.h>

#include "ops/cpu/cpu_backend.h"
#include "tests/support/tensors.h"

namespace chorus {
namespace {

TEST(PlanningBackendTest, AllocatesNothingAndDownloadsZeros) {
  PlanningBackend backend;
  const Buffer buffer = backend.allocate(std::int64_t{1} << 60);
  EXPECT_EQ(buffer.data(), nullptr);
  EXPECT_EQ(buffer.bytes(), std::int64_t{1} << 60);
  const Tensor x(DType::f32, {3}, nullptr);
  std::vector<float> values{1, 2, 3};
  backend.upload(x, values.data());
  backend.add(x, x, x);
  backend.download(values.data(), x);
  EXPECT_THAT(values, ::testing::Each(0.0F));
}

// What is measured without memory is what a real arena needs, to the byte.
TEST(PlanningBackendTest, MeasuredPeakIsWhatARealArenaNeeds) {
  const auto compute = [](Backend& backend, Arena& arena) {
    const Tensor x = arena.take(DType::f32, {10, 30});
    backend.fill(x, 1);
    for (int i = 0; i < 3; ++i) {
      Arena::Scope scope(arena);
      const Tensor y = arena.take(DType::bf16, {10, 30}), z = arena.take(DType::f32, {10, 10});
      backend.convert(y, x);
      backend.matmul(z, y, y, {.transpose_b = true});
    }
  };
  PlanningBackend planning;
  Arena measuring = Arena::measuring();
  compute(planning, measuring);
  EXPECT_EQ(measuring.peak_bytes(), 1280 + 768 + 512);
  CpuBackend cpu(1);
  Arena enough(cpu, measuring.peak_bytes(), "exact");
  EXPECT_NO_THROW(compute(cpu, enough));
  Arena small(cpu, measuring.peak_bytes() - 1, "small");
  EXPECT_THROW(compute(cpu, small), MemoryError);
}

}  // namespace
}  // namespace chorus
