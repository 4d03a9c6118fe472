#include "ops/cpu/cpu_backend.h"

#include <cstdint>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <sys/resource.h>

#include "ops/cpu/exponential.h"
#include "ops/memory.h"
#include "tests/ops/forests.h"
#include "tests/support/every_operator.h"
#include "tests/support/message_of.h"
#include "tests/support/tensors.h"

namespace chorus {
namespace {

// Large enough for all threads to have work.
std::vector<HostTensor> compute_all(int threads, DType dtype) {
  CpuBackend backend(threads);
  const Forest forest = forest_of({{100, -1, 0}, {37, 0, 60}, {70, -1, 0}, {50, 1, 3}});
  return EveryOperator(backend, dtype, forest, 192, 700).results(backend);
}

TEST(CpuBackendTest, ResultsDoNotDependOnTheNumberOfThreads) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const std::vector<HostTensor> expected = compute_all(1, dtype);
    for (const int threads : {2, 3}) {
      const std::vector<HostTensor> results = compute_all(threads, dtype);
      for (std::size_t i = 0; i < results.size(); ++i) {
        EXPECT_TRUE(is_same(results[i], expected[i])) << "result " << i << " with " << threads << " threads";
      }
    }
  }
}

TEST(CpuBackendTest, RepeatedCallsGiveTheSameBits) {
  const std::vector<HostTensor> first = compute_all(2, DType::f32), second = compute_all(2, DType::f32);
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(is_same(first[i], second[i])) << "result " << i;
}

TEST(CpuBackendTest, SeveralBackendsLiveInSeveralThreads) {
  const std::vector<HostTensor> expected = compute_all(1, DType::bf16);
  std::vector<std::vector<HostTensor>> results(3);
  std::vector<std::thread> ranks;
  for (std::vector<HostTensor>& result : results)
    ranks.emplace_back([&] { result = compute_all(1, DType::bf16); });
  for (std::thread& rank : ranks) rank.join();
  for (const std::vector<HostTensor>& result : results) {
    ASSERT_EQ(result.size(), expected.size());
    for (std::size_t i = 0; i < result.size(); ++i)
      EXPECT_TRUE(is_same(result[i], expected[i])) << "result " << i;
  }
}

TEST(CpuBackendTest, MemoryIsAligned) {
  CpuBackend backend(1);
  for (const std::int64_t bytes : {0, 1, 300, 5 << 20}) {
    const Buffer buffer = backend.allocate(bytes);
    EXPECT_EQ(buffer.bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % Arena::alignment, 0U) << bytes;
  }
}

TEST(CpuBackendTest, RefusesWhatDoesNotFit) {
  CpuBackend backend(1);
  EXPECT_THAT(test::message_of<MemoryError>([&] { backend.allocate(std::int64_t{1} << 60); }),
              ::testing::HasSubstr("1152921504606846976 bytes"));
  EXPECT_THAT(test::message_of<ConfigurationError>([] { CpuBackend none(0); }),
              ::testing::HasSubstr("at least 1 thread, not 0"));
}

// oneDNN itself ends the process where it gets no memory for code.
TEST(CpuBackendTest, SaysWhereThereIsNoRoomForCode) {
  CpuBackend backend(1);
  const DeviceTensor a(backend, DType::f32, {61, 53}), b(backend, DType::f32, {53, 47}),
      out(backend, DType::f32, {61, 47});
  rlimit former{};
  getrlimit(RLIMIT_AS, &former);
  const rlimit none{0, former.rlim_max};  // beyond what is in use
  setrlimit(RLIMIT_AS, &none);
  std::string message;
  try {
    backend.matmul(out, a, b);
  } catch (const MemoryError& error) {
    setrlimit(RLIMIT_AS, &former);
    message = error.what();
  }
  setrlimit(RLIMIT_AS, &former);
  EXPECT_THAT(message, ::testing::HasSubstr("no 16777216 bytes for the code of matrix products"));
  EXPECT_NO_THROW(backend.matmul(out, a, b));
}

TEST(CpuBackendTest, RefusesIndicesOutsideTheTensor) {
  CpuBackend backend(1);
  const DeviceTensor x(backend, DType::f32, {4, 2}), out(backend, DType::f32, {2, 2});
  const DeviceTensor rows(backend, integers(DType::i32, std::vector<std::int32_t>{1, 4}));
  EXPECT_THAT(test::message_of<Error>([&] { backend.gather_rows(out, x, rows); }),
              ::testing::HasSubstr("gather_rows: index 1 is row 4 of 4"));
  EXPECT_THAT(test::message_of<Error>([&] { backend.scatter_rows(x, out, rows); }),
              ::testing::HasSubstr("scatter_rows: index 1 is row 4 of 4"));
  const DeviceTensor f64(backend, DType::f64, {2, 2});
  EXPECT_THAT(test::message_of<Error>([&] { backend.add(f64, f64, f64); }),
              ::testing::HasSubstr("the CPU backend does not compute in f64"));
}

TEST(ExponentialTest, IsAccurateAndExactAtTheEnds) {
  for (double x = -87.2; x < 88.3; x += 0.0137) {
    const double expected = std::exp(static_cast<double>(static_cast<float>(x)));
    EXPECT_NEAR(static_cast<double>(exponential(static_cast<float>(x))) / expected, 1, 3 * 0x1p-23) << x;
  }
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(exponential(0), 1);
  EXPECT_EQ(exponential(-infinity), 0);
  EXPECT_EQ(exponential(-1000), 0);
  EXPECT_EQ(exponential(infinity), infinity);
  EXPECT_EQ(exponential(1000), infinity);
  EXPECT_TRUE(std::isnan(exponential(std::nanf(""))));
}

}  // namespace
}  // namespace chorus
