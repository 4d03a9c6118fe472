#include "core/formats/upload_slice.h"

#include <gtest/gtest.h>

#include "ops/bfloat16.h"
#include "ops/cpu/cpu_backend.h"
#include "ops/transfer.h"
#include "tests/support/resident.h"
#include "tests/support/scratch.h"

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

TEST(AsStored, IsWhatNeedsNeitherConversionNorCutting) {
  const std::vector<float> list(24);
  const TensorView view{"w", FileDType::f32, {6, 4}, reinterpret_cast<const std::byte*>(list.data())};
  const auto rows_2_to_5 = as_stored(view, DType::f32, 0, 2, 5);
  ASSERT_TRUE(rows_2_to_5);
  EXPECT_EQ(rows_2_to_5->data, view.data + 2 * 4 * sizeof(float));
  EXPECT_EQ(rows_2_to_5->shape, (std::vector<std::int64_t>{3, 4}));
  ASSERT_TRUE(as_stored(view, DType::f32, 1, 0, 4)) << "all columns";
  EXPECT_EQ(as_stored(view, DType::f32, 1, 0, 4)->shape, view.shape);
  EXPECT_FALSE(as_stored(view, DType::f32, 1, 0, 3));
  EXPECT_FALSE(as_stored(view, DType::bf16, 0, 2, 5));
}

// 16 MiB of which no rank keeps anything in its memory once they are copied.
TEST(UploadSlice, GivesThePagesOfTheFileBack) {
  constexpr std::int64_t extent = 2048, bytes = extent * extent * 4;
  const test::ScratchFolder folder;
  const std::vector<float> list(static_cast<std::size_t>(extent * extent), 1);
  write_safetensors(folder / "a", {{{"w", FileDType::f32, {extent, extent}}, list.data()}});
  const SafetensorsFile file(folder / "a");
  const TensorView& view = file.tensor("w");
  const auto resident = [&] { return test::resident_bytes(folder / "a"); };
  CpuBackend backend(1);
  Arena arena(backend, bytes, "test");
  const auto copy = [&](DType dtype, int dim, std::int64_t begin, std::int64_t end) {
    Arena::Scope scope(arena);
    const Tensor part = arena.take(dtype, dim == 0 ? Shape{end - begin, extent} : Shape{extent, end - begin});
    upload_slice(backend, part, view, dim, begin, end);
    EXPECT_EQ(download_floats(backend, part),
              std::vector<float>(static_cast<std::size_t>(part.elements()), 1));
    EXPECT_LT(resident(), bytes / 16) << name(dtype) << " dim " << dim;
  };
  copy(DType::f32, 0, 0, extent);
  copy(DType::bf16, 0, 0, extent);
  copy(DType::f32, 1, 3, extent / 2);
  read_tensor(view);
  EXPECT_GE(resident(), bytes) << "what is only read stays";
}

}  // namespace
}  // namespace chorus
