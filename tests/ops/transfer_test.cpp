#include "ops/transfer.h"

#include <gmock/gmock.h>

#include "ops/cpu/cpu_backend.h"

namespace chorus {
namespace {

TEST(TransferTest, FloatsAreRoundedToTheTypeOfTheTensor) {
  CpuBackend backend(1);
  Arena arena(backend, 4096, "test");
  const std::vector<float> values{1.0F, -2.5F, 1.0F + 0x1p-20F};
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
    const Tensor x = arena.take(dtype, {3});
    upload_floats(backend, x, values);
    EXPECT_THAT(download_floats(backend, x),
                ::testing::ElementsAre(1.0F, -2.5F, dtype == DType::bf16 ? 1.0F : 1.0F + 0x1p-20F));
  }
}

TEST(TransferTest, IntegersComeFromTheArena) {
  CpuBackend backend(1);
  Arena arena(backend, 4096, "test");
  const std::vector<std::int32_t> small{3, -1};
  const std::vector<std::int64_t> large{std::int64_t{1} << 40};
  EXPECT_EQ(upload_integers(backend, arena, small).data<std::int32_t>()[1], -1);
  EXPECT_EQ(upload_integers(backend, arena, large).data<std::int64_t>()[0], std::int64_t{1} << 40);
}

TEST(TransferTest, RefusesWrongSizesAndTypes) {
  CpuBackend backend(1);
  Arena arena(backend, 4096, "test");
  const std::vector<float> values{1, 2};
  EXPECT_THROW(upload_floats(backend, arena.take(DType::f32, {3}), values), Error);
  EXPECT_THROW(upload_floats(backend, arena.take(DType::i32, {2}), values), Error);
  EXPECT_THROW(download_floats(backend, arena.take(DType::i64, {2})), Error);
}

}  // namespace
}  // namespace chorus
