// Faults in kernels are found and named; a kernel without them gives the same in all orders.

#include "tests/cuda_emulation/device_test.h"
#include "tests/cuda_emulation/shadow.h"

namespace chorus::cuda_emulation {
namespace {

using testing::TestParamInfo;
using testing::TestWithParam;

constexpr int count = 250;

std::vector<float> rotated_sums(const std::vector<float>& in) {
  std::vector<float> out(count);
  const auto rotated = [&](int i) {
    const int j = i / rotated_block * rotated_block + (i % rotated_block + 33) % rotated_block;
    return j < count ? in[static_cast<std::size_t>(j)] : 0.0F;
  };
  for (int i = 0; i < count; ++i) out[static_cast<std::size_t>(i)] = rotated(i) + rotated(i ^ 1);
  return out;
}

struct Planted {
  Bug bug;
  const char* name;
  const char* report;       // of the checked build
  const char* fast_report;  // null: found by the result, or not at all
};

void PrintTo(const Planted& planted, std::ostream* out) { *out << planted.name; }

class PlantedBugTest : public DeviceTest, public testing::WithParamInterface<Planted> {};

TEST_P(PlantedBugTest, IsFound) {
  const auto [bug, name, report, fast_report] = GetParam();
  const char* expected = checked ? report : fast_report;
  if (expected == nullptr) GTEST_SKIP() << "only the checked build sees it";
  const float* in = upload(counted(256));
  float* out = allocate<float>(count);
  ASSERT_EQ(cudaMemsetAsync(out, 0, 4, stream()), cudaSuccess);
  EXPECT_EXIT(
      {
        (void)rotated_sum(bug, in, out, count, stream());
        (void)synchronize();
      },
      finds_fault(), expected);
}

INSTANTIATE_TEST_SUITE_P(
    All, PlantedBugTest,
    testing::Values(
        Planted{Bug::missing_barrier, "MissingBarrier", "uninitialised read of 4 bytes of shared memory",
                nullptr},
        Planted{Bug::copy_not_waited_for, "CopyNotWaitedFor",
                "uninitialised read|without having waited for its cp.async",
                "without having waited for its cp.async"},
        Planted{Bug::out_of_bounds, "OutOfBounds",
                "out of bounds: the kernel writes 4 bytes of device memory: offset 10[0-9]+ of allocation "
                "#[0-9]+, which has "
                "1000 bytes",
                "wrote out of bounds, at offset 1000 of allocation"},
        Planted{
            Bug::out_of_bounds_shared, "OutOfBoundsShared",
            "out of bounds: the kernel reads 4 bytes at offset 516 of its block's 512 bytes of shared memory",
            "touched shared memory out of bounds, at offset 516"},
        Planted{Bug::uninitialized_shared, "UninitializedShared",
                "uninitialised read of 4 bytes of shared memory, offset 256", nullptr},
        Planted{Bug::race_between_blocks, "RaceBetweenBlocks",
                "race: a (read|write) after a (write|read) of device memory", nullptr},
        Planted{Bug::race_after_shuffle, "RaceAfterShuffle", "race: .* of shared memory", nullptr},
        Planted{Bug::divergent_shuffle, "DivergentShuffle",
                "waits for lane 16, which exits|lanes that have exited|deadlock",
                "waits for lane 16, which exits|lanes that have exited|deadlock"},
        Planted{Bug::divergent_barrier, "DivergentBarrier",
                "divergent barrier 0: others wait at .*test_kernels.cu",
                "divergent barrier 0: others wait at .*test_kernels.cu"},
        Planted{Bug::barrier_without_all, "BarrierWithoutAll", "deadlock in block|which exits|diverged",
                "deadlock in block|which exits|diverged"},
        Planted{Bug::misaligned, "Misaligned", "misaligned read of 16 bytes", "misaligned read of 16 bytes"},
        Planted{Bug::endless_recursion, "EndlessRecursion", "bytes of stack", "bytes of stack"}),
    [](const TestParamInfo<Planted>& info) { return info.param.name; });

using KernelFaultTest = DeviceTest;

TEST_F(KernelFaultTest, HostPointersAreNamed) {
  if (!checked) GTEST_SKIP() << "only the checked build sees it";
  const std::vector<float> in = counted(256);
  float* out = allocate<float>(count);
  EXPECT_EXIT(
      {
        (void)rotated_sum(Bug::none, in.data(), out, count, stream());
        (void)synchronize();
      },
      finds_fault(), "the kernel reads host memory");
}

TEST_F(KernelFaultTest, ReportsNameThePlaceTheThreadAndTheKernel) {
  const float* in = upload(counted(256));
  float* out = allocate<float>(count);
  EXPECT_EXIT(
      {
        (void)rotated_sum(Bug::misaligned, in, out, count, stream());
        (void)synchronize();
      },
      finds_fault(),
      "at .*device.cuh:[0-9]+.*\n.*by thread \\(0,0,0\\) of block \\(0,0,0\\) of launch [0-9]+, "
      ".*rotated_sum");
}

TEST_F(KernelFaultTest, MemoryThatWasNeverWritten) {
  float *in = allocate<float>(4), *out = allocate<float>(1);
  if (checked) {
    EXPECT_EXIT(
        {
          (void)read_at(in, 2, out, stream());
          (void)synchronize();
        },
        finds_fault(), "uninitialised read of 4 bytes of device memory: offset 8");
  } else {
    ASSERT_EQ(read_at(in, 2, out, stream()), cudaSuccess);
    EXPECT_NE(download(out, 1)[0], download(out, 1)[0]);  // NaN
  }
}

TEST_F(KernelFaultTest, AtomicsAreNoRaces) {
  unsigned* out = upload(std::vector<unsigned>{0});
  ASSERT_EQ(count_threads(out, 7, stream()), cudaSuccess);
  EXPECT_EQ(download(out, 1)[0], 7U * 96U);
}

// The search for races tells launches apart by numbers that come again.
TEST_F(KernelFaultTest, ManyLaunchesAreNoRaces) {
  float* out = allocate<float>(2);
  for (int i = 0; i < 2 * 2048 + 5; ++i)
    ASSERT_EQ(write_at(out, i % 2, static_cast<float>(i), stream()), cudaSuccess);
  EXPECT_EQ(download(out, 2), (std::vector<float>{4100, 4099}));
}

struct Schedule {
  Order order;
  Progress streams;
  std::uint64_t seed;
};
class ScheduleTest : public DeviceTest, public testing::WithParamInterface<Schedule> {};

// Two streams, ordered by events, in a chain of dependent kernels.
TEST_P(ScheduleTest, CorrectKernelsGiveTheSame) {
  Settings chosen = settings();
  chosen.order = GetParam().order;
  chosen.streams = GetParam().streams;
  chosen.seed = GetParam().seed;
  configure(chosen);
  const std::vector<float> values = counted(256);
  float *in = upload(values), *middle = allocate<float>(count), *sums = allocate<float>(2);
  cudaStream_t other = nullptr;
  cudaEvent_t ready = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaEventCreateWithFlags(&ready, cudaEventDisableTiming), cudaSuccess);
  for (int repetition = 0; repetition < 3; ++repetition) {
    ASSERT_EQ(rotated_sum(Bug::none, in, middle, count, other), cudaSuccess);
    ASSERT_EQ(cudaEventRecord(ready, other), cudaSuccess);
    ASSERT_EQ(cudaStreamWaitEvent(stream(), ready, 0), cudaSuccess);
    ASSERT_EQ(sum_blocks(middle, sums, 2, 125, stream()), cudaSuccess);
    ASSERT_EQ(cudaEventRecord(ready, stream()), cudaSuccess);
    ASSERT_EQ(cudaStreamWaitEvent(other, ready, 0), cudaSuccess);
  }
  const std::vector<float> expected = rotated_sums(values);
  EXPECT_EQ(download(middle, count), expected);
  float sum = 0;
  for (int i = 0; i < 125; ++i) sum += expected[static_cast<std::size_t>(i)];
  EXPECT_FLOAT_EQ(download(sums, 2)[0], sum);
  EXPECT_EQ(cudaEventDestroy(ready), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(other), cudaSuccess);
}

std::vector<Schedule> schedules() {
  std::vector<Schedule> result;
  for (const Progress streams : {Progress::eager, Progress::lazy, Progress::random}) {
    for (const Order order : {Order::sequential, Order::reversed}) result.push_back({order, streams, 1});
    for (std::uint64_t seed = 1; seed <= 3; ++seed) result.push_back({Order::random, streams, seed});
  }
  return result;
}
INSTANTIATE_TEST_SUITE_P(All, ScheduleTest, testing::ValuesIn(schedules()));

using LaunchTest = DeviceTest;

TEST_F(LaunchTest, SharedMemoryIsLimitedByTheDevice) {
  EXPECT_EQ(use_shared_memory(48 * 1024, false, stream()), cudaSuccess);
  EXPECT_EQ(use_shared_memory(49 * 1024, false, stream()), cudaErrorInvalidValue);
  EXPECT_EQ(use_shared_memory(163 * 1024, true, stream()), cudaSuccess);
  EXPECT_EQ(use_shared_memory(164 * 1024, true, stream()), cudaErrorInvalidValue);
  Settings smaller = settings();
  smaller.devices[0].minor = 6;
  configure(smaller);
  EXPECT_EQ(use_shared_memory(99 * 1024, true, stream()), cudaSuccess);
  EXPECT_EQ(use_shared_memory(100 * 1024, true, stream()), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(LaunchTest, GridsAreLimited) {
  float* data = allocate<float>(1);
  EXPECT_EQ(sum_blocks(data, data, 0, 1, stream()), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace chorus::cuda_emulation
