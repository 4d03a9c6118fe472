#include "core/upload_slice.h"

#include <gtest/gtest.h>

#include "ops/bfloat16.h"
#include "ops/cpu/cpu_backend.h"
#include "ops/transfer.h"

namespace chorus {
namespace {

// Large enough for several pieces; the values are exact in bf16.
constexpr std::int64_t rows = 1500, columns = 1400;

template <typename T>
std::vector<T> values() {
  std::vector<T> list(static_cast<std::size_t>(rows * columns));
  for (std::size_t i = 0; i < list.size(); ++i) list[i] = T(static_cast<float>(i % 251) - 125);
  return list;
}

template <typename T>
void expect_slices(FileDType type) {
  const std::vector<T> list = values<T>();
  const TensorView view{"w", type, {rows, columns}, reinterpret_cast<const std::byte*>(list.data())};
  CpuBackend backend(1);
  Arena arena(backend, std::int64_t{64} << 20, "test");
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Arena::Scope scope(arena);
    const Tensor by_rows = arena.take(dtype, {rows - 300, columns});
    upload_slice(backend, by_rows, view, 0, 200, rows - 100);
    EXPECT_EQ(download_floats(backend, by_rows), read_slice(view, 0, 200, rows - 100));
    const Tensor by_columns = arena.take(dtype, {rows, columns - 3});
    upload_slice(backend, by_columns, view, 1, 2, columns - 1);
    EXPECT_EQ(download_floats(backend, by_columns), read_slice(view, 1, 2, columns - 1));
  }
}

TEST(UploadSlice, BringsEveryPartInEveryType) {
  expect_slices<float>(FileDType::f32);
  expect_slices<bfloat16>(FileDType::bf16);
}

TEST(UploadSlice, BringsVectorsAndNothing) {
  const std::vector<float> list{0, 1, 2, 3};
  const TensorView view{"v", FileDType::f32, {4}, reinterpret_cast<const std::byte*>(list.data())};
  CpuBackend backend(1);
  Arena arena(backend, 1 << 16, "test");
  const Tensor part = arena.take(DType::bf16, {2});
  upload_slice(backend, part, view, 0, 1, 3);
  EXPECT_EQ(download_floats(backend, part), (std::vector<float>{1, 2}));
  upload_slice(backend, arena.take(DType::f32, {0}), view, 0, 4, 4);
}

}  // namespace
}  // namespace chorus
