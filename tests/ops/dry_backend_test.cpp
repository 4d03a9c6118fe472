#include "ops/dry_backend.h"

#include <numeric>

#include <gmock/gmock.h>

#include "ops/cpu/cpu_backend.h"
#include "ops/memory.h"
#include "tests/support/every_operator.h"

namespace chorus {
namespace {

TEST(DryBackendTest, AllocatesNothingAndDownloadsZeros) {
  DryBackend backend;
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
TEST(DryBackendTest, MeasuredPeakIsWhatARealArenaNeeds) {
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
  DryBackend planning;
  Arena measuring = Arena::measuring();
  compute(planning, measuring);
  EXPECT_EQ(measuring.peak_bytes(), 1280 + 768 + 512);
  CpuBackend cpu(1);
  Arena enough(cpu, measuring.peak_bytes(), "exact");
  EXPECT_NO_THROW(compute(cpu, enough));
  Arena small(cpu, measuring.peak_bytes() - 1, "small");
  EXPECT_THROW(compute(cpu, small), MemoryError);
}

class Listener final : public DryBackend {
 public:
  std::vector<std::int64_t> bytes;  // of the tensors of each call

 private:
  void traffic(std::initializer_list<ConstTensor> tensors) override {
    bytes.push_back(std::accumulate(tensors.begin(), tensors.end(), std::int64_t{0},
                                    [](std::int64_t sum, const ConstTensor& x) { return sum + x.bytes(); }));
  }
};

TEST(DryBackendTest, EveryOperatorTellsItsTrafficOnce) {
  Listener listener;
  const EveryOperator operators(listener, DType::bf16, single_sequence(40), 8, 50);
  for (const OperatorCall& call : operators.calls()) {
    listener.bytes.clear();
    call(listener);
    EXPECT_THAT(listener.bytes, ::testing::ElementsAre(::testing::Gt(0))) << call.name;
  }
}

// By the contracts of ops/backend.h. Kept apart from the code, whose numbers prices are made of.
TEST(DryBackendTest, CountsATensorAsOftenAsItIsReadOrWritten) {
  Listener listener;
  const Tensor x(DType::bf16, {10, 30}, nullptr), table(DType::bf16, {1000, 30}, nullptr);
  const Tensor tokens(DType::i32, {10}, nullptr), flat(DType::f32, {100}, nullptr);
  listener.matmul(x, x, table);
  listener.matmul(x, x, table, {.accumulate = true});
  listener.embed(x, table, tokens, 0);
  listener.rms_norm_backward(x, x, x, x, flat);
  listener.adamw(flat, flat, flat, flat, {});
  EXPECT_THAT(listener.bytes,
              ::testing::ElementsAre(600 + 600 + 60000, 3 * 600 + 60000, 2 * 600, 4 * 600 + 400, 7 * 400));
}

}  // namespace
}  // namespace chorus
