#include "ops/cuda/cuda_backend.h"

#include <cstdint>
#include <numeric>

#include <gmock/gmock.h>

#include "ops/cuda/cuda_stream_clock.h"
#include "ops/cuda/matmul_plans.h"
#include "ops/cuda/resources.h"
#include "tests/ops/forests.h"
#include "tests/support/every_operator.h"
#include "tests/support/message_of.h"
#include "tests/support/tensors.h"

namespace chorus {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

HostTensor counted(std::int64_t count) {
  HostTensor x(DType::i32, {count});
  auto* values = static_cast<std::int32_t*>(x.data());
  std::iota(values, values + count, 1);
  return x;
}

// Several pieces, of which the last is not whole.
constexpr std::int64_t large = 2 * cuda::Resources::staging_bytes / 4 + 12345;

TEST(CudaBackendTest, CopiesMayBeLargerThanTheStagingBuffers) {
  CudaBackend backend;
  for (const std::int64_t count : {std::int64_t{0}, std::int64_t{1}, large}) {
    const HostTensor x = counted(count);
    EXPECT_TRUE(is_same(DeviceTensor(backend, x).download(), x)) << count;
  }
}

TEST(CudaBackendTest, UploadHasReadItsSourceWhenItReturns) {
  CudaBackend backend;
  HostTensor source = counted(large);
  const HostTensor expected = source;
  const DeviceTensor first(backend, DType::i32, {large}), second(backend, DType::i32, {large});
  backend.upload(first, source.data());
  std::memset(source.data(), 0, static_cast<std::size_t>(4 * large));
  backend.upload(second, source.data());
  EXPECT_TRUE(is_same(first.download(), expected));
  EXPECT_TRUE(is_same(second.download(), source));
}

TEST(CudaBackendTest, MemoryIsAligned) {
  CudaBackend backend;
  for (const std::int64_t bytes : {0, 1, 300, 5 << 20}) {
    const Buffer buffer = backend.allocate(bytes);
    EXPECT_EQ(buffer.bytes(), bytes);
    EXPECT_NE(buffer.data(), nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % Arena::alignment, 0U) << bytes;
  }
}

TEST(CudaBackendTest, RefusesWhatDoesNotFit) {
  CudaBackend backend;
  EXPECT_THAT(test::message_of<MemoryError>([&] { backend.allocate(std::int64_t{1} << 60); }),
              AllOf(HasSubstr("1152921504606846976 bytes"), HasSubstr("bytes are free")));
  // The refusal leaves nothing behind.
  const HostTensor x = counted(3);
  EXPECT_TRUE(is_same(DeviceTensor(backend, x).download(), x));
}

TEST(CudaBackendTest, RefusesGpusThatAreNotThere) {
  CudaBackend backend;  // says why there is none, where there is none
  for (const int device : {-1, 99}) {
    EXPECT_THAT(
        test::message_of<ConfigurationError>([&] { CudaBackend none(device); }),
        AllOf(HasSubstr("no usable GPU"), HasSubstr(std::to_string(device)), HasSubstr("counted from 0")));
  }
}

TEST(CudaBackendTest, RefusesTypesThatItDoesNotComputeIn) {
  CudaBackend backend;
  const DeviceTensor f64(backend, DType::f64, {2, 2});
  EXPECT_THAT(test::message_of<Error>([&] { backend.add(f64, f64, f64); }),
              HasSubstr("the CUDA backend does not compute in f64"));
  EXPECT_THAT(test::message_of<Error>([&] { backend.matmul(f64, f64, f64); }),
              HasSubstr("the CUDA backend does not compute in f64"));
}

TEST(CudaResourcesTest, TheWorkspaceGrowsAndThenStays) {
  cuda::Resources resources(0);
  void* const first = resources.workspace(1);
  EXPECT_EQ(resources.workspace(cuda::Resources::workspace_bytes), first);
  constexpr std::int64_t more = cuda::Resources::workspace_bytes + (std::int64_t{4} << 20);
  void* const grown = resources.workspace(more);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(grown) % Arena::alignment, 0U);
  EXPECT_EQ(resources.workspace(1), grown);
  EXPECT_EQ(resources.workspace(more), grown);
  // All of it is ours.
  const std::vector<char> bytes(1 << 20, 'x');
  resources.upload(static_cast<char*>(grown) + more - (1 << 20), bytes.data(), 1 << 20);
  std::vector<char> back(1 << 20);
  resources.download(back.data(), static_cast<char*>(grown) + more - (1 << 20), 1 << 20);
  EXPECT_EQ(back, bytes);
}

TEST(CudaResourcesTest, AWorkspaceThatDoesNotFitIsRefused) {
  cuda::Resources resources(0);
  EXPECT_THAT(test::message_of<MemoryError>([&] { resources.workspace(std::int64_t{1} << 50); }),
              HasSubstr("no room for a workspace of 1125899906842624 bytes"));
  EXPECT_NE(resources.workspace(1), nullptr);
}

// Its work is that between the marks, of which the one with more lasts longer; marks are taken again after a reading.
TEST(CudaStreamClockTest, MeasuresWhatIsBetweenMarks) {
  CudaBackend backend;
  CudaStreamClock clock(backend.stream());
  EXPECT_TRUE(clock.intervals().empty());
  const DeviceTensor x(backend, random_tensor(DType::f32, {256, 1024}, 1)),
      y(backend, DType::f32, {256, 1024});
  for (int repetition = 0; repetition < 3; ++repetition) {
    clock.mark();
    backend.add(y, x, x);
    clock.mark();
    for (int i = 0; i < 20; ++i) backend.add(y, x, x);
    clock.mark();
    clock.mark();
    const std::vector<double> seconds = clock.intervals();
    ASSERT_EQ(seconds.size(), 3U);
    EXPECT_GT(seconds[0], 0);
    EXPECT_GT(seconds[1], 2 * seconds[0]);
    EXPECT_LT(seconds[2], seconds[1]);
  }
}

TEST(MatmulPlanCacheTest, MakesEachPlanOnce) {
  CudaBackend backend;
  cuda::MatmulPlanCache plans(1 << 20);
  const cuda::MatmulProblem problem{.m = 3, .n = 4, .k = 5, .input = DType::bf16, .output = DType::bf16};
  cuda::MatmulProblem transposed = problem, unaligned = problem, wide = problem;
  transposed.transpose_b = true;
  unaligned.out_alignment = 8;
  wide.output = DType::f32;
  for (int repetition = 0; repetition < 3; ++repetition) {
    for (const auto& each : {problem, transposed, unaligned, wide}) plans.find(each);
  }
  EXPECT_EQ(plans.made(), 4);
  EXPECT_EQ(&plans.find(problem), &plans.find(problem));
}

TEST(MatmulPlanCacheTest, SaysWhatTheLibraryCannotMultiply) {
  CudaBackend backend;
  cuda::MatmulPlanCache plans(1 << 20);
  EXPECT_THAT(
      test::message_of<Error>([&] {
        plans.find({.m = 3, .n = 4, .k = 5, .transpose_b = true, .input = DType::f32, .output = DType::bf16});
      }),
      HasSubstr("cuBLASLt knows no algorithm for f32 [3, 5] times [5, 4] (transposed) to bf16"));
}

// Kernels cannot throw. NaN shows up in the loss, where memory of somebody else's might not.
TEST(CudaBackendTest, IndicesOutsideTheTensorGiveNan) {
  CudaBackend backend;
  const DeviceTensor x(backend, random_tensor(DType::bf16, {4, 8}, 1)), out(backend, DType::bf16, {3, 8});
  const DeviceTensor rows(backend, integers(DType::i32, std::vector<std::int32_t>{4, 1, -1}));
  backend.gather_rows(out, x, rows);
  const DeviceTensor heads(backend, random_tensor(DType::bf16, {3, 1, 8}, 2));
  backend.rope(heads, rows, DeviceTensor(backend, random_tensor(DType::f32, {4, 8}, 3)), Rotation::forward);
  const DeviceTensor logits(backend, random_tensor(DType::f32, {4, 8}, 4)), lse(backend, DType::f32, {4}),
      probability(backend, DType::f32, {3});
  backend.target_log_probability(probability, logits, lse, rows, rows, 0);
  for (const DeviceTensor* result : {&out, &heads, &probability}) {
    const HostTensor values = result->download();
    const std::int64_t width = values.elements() / 3;
    for (std::int64_t i = 0; i < values.elements(); ++i) {
      EXPECT_EQ(std::isnan(values.at(i)), i / width != 1) << i;
    }
  }
  backend.scatter_rows(x, out, rows);  // leaves all but row 1 alone
  EXPECT_FALSE(std::isnan(x.download().at(0)));
}

std::vector<HostTensor> compute_all(DType dtype) {
  CudaBackend backend;
  const Forest forest = forest_of({{30, -1, 0}, {17, 0, 20}, {21, -1, 0}, {10, 1, 3}});
  return EveryOperator(backend, dtype, forest, 96, 300).results(backend);
}

TEST(CudaBackendTest, RepeatedRunsGiveTheSameBits) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const std::vector<HostTensor> first = compute_all(dtype), second = compute_all(dtype);
    for (std::size_t i = 0; i < first.size(); ++i)
      EXPECT_TRUE(is_same(first[i], second[i])) << "result " << i;
  }
}

}  // namespace
}  // namespace chorus
