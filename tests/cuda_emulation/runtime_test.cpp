// Memory, copies, streams, devices, and what tests can do to them.

#include <cmath>
#include <cstring>

#include "tests/cuda_emulation/device_test.h"
#include "tests/cuda_emulation/shadow.h"

namespace chorus::cuda_emulation {
namespace {

using MemoryTest = DeviceTest;

TEST_F(MemoryTest, HostCodeCannotTouchIt) {
  volatile float* memory = upload(counted(4));
  EXPECT_EXIT((void)memory[3], finds_fault(),
              "host code touched device memory: offset 12 of allocation #[0-9]+, which has 16");
  EXPECT_EXIT(memory[3] = 1, finds_fault(), "host code touched device memory: offset 12");
}

TEST_F(MemoryTest, UnlessItIsNotProtected) {
  Settings open = settings();
  open.protect = false;
  configure(open);
  const float* memory = upload(counted(4));
  EXPECT_EQ(memory[3], 3);
}

TEST_F(MemoryTest, FreedMemoryStaysKnown) {
  float *small = nullptr, *out = allocate<float>(1);
  for (const std::size_t bytes : {std::size_t{64}, std::size_t{64} << 20}) {
    ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&small), bytes), cudaSuccess);
    ASSERT_EQ(write_at(small, 0, 1, stream()), cudaSuccess);
    ASSERT_EQ(cudaFree(small), cudaSuccess);
    EXPECT_EQ(cudaFree(small), cudaErrorInvalidValue);
    EXPECT_EXIT(
        {
          (void)cudaMemcpyAsync(out, small, 4, cudaMemcpyDeviceToDevice, stream());
          (void)synchronize();
        },
        finds_fault(), "lies in freed allocation");
    if (!checked && bytes < 1024) continue;
    EXPECT_EXIT(
        {
          (void)read_at(small, 0, out, stream());
          (void)synchronize();
        },
        finds_fault(), "freed device memory: offset 0 of allocation");
  }
}

TEST_F(MemoryTest, AllocatingCostsNothing) {
  for (int i = 0; i < 2000; ++i) {  // would take a minute, and 64 GiB, if memory were filled
    void* memory = nullptr;
    ASSERT_EQ(cudaMalloc(&memory, std::size_t{32} << 20), cudaSuccess);
    ASSERT_EQ(write_at(static_cast<float*>(memory), i, 1, stream()), cudaSuccess);
    ASSERT_EQ(cudaFree(memory), cudaSuccess);
  }
}

TEST_F(MemoryTest, RedzonesAreLookedAfter) {
  if (checked) GTEST_SKIP() << "every access is checked";
  float* memory = upload(counted(100));
  for (const std::int64_t i : {-1, 100, 101, 227}) {
    EXPECT_EXIT(
        {
          (void)write_at(memory, i, 1, stream());
          (void)synchronize();
        },
        finds_fault(), fmt::format("write_at.* wrote out of bounds, at offset {} of allocation", 4 * i));
  }
}

TEST_F(MemoryTest, IsLimited) {
  Settings small = settings();
  small.device_bytes = 1000;
  configure(small);
  std::size_t free = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  EXPECT_EQ(free, 1000U);
  (void)allocate<char>(600);
  void* memory = this;
  EXPECT_EQ(cudaMalloc(&memory, 401), cudaErrorMemoryAllocation);
  EXPECT_EQ(memory, nullptr);
  ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  EXPECT_EQ(free, 400U);
  EXPECT_EQ(total, 1000U);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
}

using CopyTest = DeviceTest;

TEST_F(CopyTest, BeyondTheEnd) {
  float *from = upload(counted(256)), *to = allocate<float>(250);
  EXPECT_EXIT(
      (void)cudaMemcpy(to, from, 1024, cudaMemcpyDeviceToDevice), finds_fault(),
      "destination of a copy: write of 1024 bytes at offset 0 of allocation #[0-9]+, which has 1000 bytes");
}

TEST_F(CopyTest, WrongDirection) {
  float* device = upload(counted(4));
  float host[4];
  EXPECT_EQ(cudaMemcpy(host, device, 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host, device, 16, cudaMemcpyDefault), cudaSuccess);
}

TEST_F(CopyTest, WhoDoesNotWaitReadsNan) {
  float *device = upload(counted(4)), *host = pinned(4);
  std::memset(host, 0, 16);
  Settings lazy = settings();
  lazy.streams = Progress::lazy;
  configure(lazy);
  ASSERT_EQ(cudaMemcpyAsync(host, device, 16, cudaMemcpyDeviceToHost, stream()), cudaSuccess);
  EXPECT_TRUE(std::isnan(host[1]));
  ASSERT_EQ(synchronize(), cudaSuccess);
  EXPECT_EQ(host[1], 1);
  EXPECT_EQ(cudaFreeHost(host), cudaSuccess);
}

TEST_F(CopyTest, PinnedSourcesMustWait) {
  float *device = allocate<float>(4), *host = pinned(4);
  std::memset(host, 0, 16);
  EXPECT_EXIT(
      {
        (void)cudaMemcpyAsync(device, host, 16, cudaMemcpyHostToDevice, stream());
        host[2] = 5;
        (void)synchronize();
      },
      finds_fault(), "pinned source .* was changed before the copy ran");
  EXPECT_EQ(cudaFreeHost(host), cudaSuccess);
}

TEST_F(CopyTest, PageableSourcesNeedNot) {
  float* device = allocate<float>(4);
  std::vector<float> host = counted(4);
  ASSERT_EQ(cudaMemcpyAsync(device, host.data(), 16, cudaMemcpyHostToDevice, stream()), cudaSuccess);
  host.assign(4, -1);
  EXPECT_EQ(download(device, 4), counted(4));
}

TEST_F(CopyTest, OfMemoryThatWasNeverWritten) {
  if (!checked) GTEST_SKIP() << "only the checked build sees it";
  float* device = allocate<float>(4);
  ASSERT_EQ(write_at(device, 0, 1, stream()), cudaSuccess);
  EXPECT_EXIT(download(device, 4), finds_fault(),
              "a copy of 16 bytes reads uninitialised device memory from byte 4 on");
}

using StreamTest = DeviceTest;

TEST_F(StreamTest, WithoutAnEventNothingIsOrdered) {
  cudaStream_t other = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), cudaSuccess);
  float *device = upload(counted(4)), *host = pinned(1);
  ASSERT_EQ(write_at(device, 1, 9, stream()), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(host, device + 1, 4, cudaMemcpyDeviceToHost, other), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(other), cudaSuccess);
  EXPECT_EQ(host[0], settings().streams == Progress::lazy ? 1 : host[0]);
  EXPECT_EQ(cudaFreeHost(host), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(other), cudaSuccess);
}

TEST_F(StreamTest, MemoryFreedInAnotherStream) {
  Settings lazy = settings();
  lazy.streams = Progress::lazy;
  configure(lazy);
  cudaStream_t other = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), cudaSuccess);
  float *in = upload(counted(256)), *out = allocate<float>(250);
  EXPECT_EXIT(
      {
        (void)cudaMemcpyAsync(out, in, 1000, cudaMemcpyDeviceToDevice, stream());
        (void)cudaFreeAsync(in, other);
        (void)cudaStreamSynchronize(other);
        (void)synchronize();
      },
      finds_fault(), "lies in freed allocation");
  EXPECT_EQ(cudaStreamDestroy(other), cudaSuccess);
}

TEST_F(StreamTest, QueriesSayWhetherWorkIsLeft) {
  Settings lazy = settings();
  lazy.streams = Progress::lazy;
  configure(lazy);
  cudaEvent_t begin = nullptr, end = nullptr;
  ASSERT_EQ(cudaEventCreate(&begin), cudaSuccess);
  ASSERT_EQ(cudaEventCreate(&end), cudaSuccess);
  float* data = allocate<float>(1);
  ASSERT_EQ(cudaEventRecord(begin, stream()), cudaSuccess);
  ASSERT_EQ(write_at(data, 0, 1, stream()), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(end, stream()), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(stream()), cudaErrorNotReady);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  float time = -1;
  EXPECT_EQ(cudaEventElapsedTime(&time, begin, end), cudaErrorNotReady);
  ASSERT_EQ(cudaEventSynchronize(end), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&time, begin, end), cudaSuccess);
  EXPECT_GE(time, 0);
  EXPECT_EQ(cudaStreamQuery(stream()), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(begin), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(end), cudaSuccess);
}

TEST_F(StreamTest, TheDefaultStreamIsRefused) {
  float* data = allocate<float>(1);
  EXPECT_EXIT((void)write_at(data, 0, 1, nullptr), finds_fault(), "cudaLaunchKernelEx on the default stream");
}

using DevicesTest = DeviceTest;

TEST_F(DevicesTest, AreAsConfigured) {
  Settings mixed = settings();
  mixed.devices = {DeviceModel{"First", 8, 0, 108}, DeviceModel{"Second", 9, 0, 132}};
  configure(mixed);
  int count = 0;
  ASSERT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  EXPECT_EQ(count, 2);
  cudaDeviceProp properties{};
  ASSERT_EQ(cudaGetDeviceProperties(&properties, 1), cudaSuccess);
  EXPECT_STREQ(properties.name, "Second");
  EXPECT_EQ(properties.major, 9);
  EXPECT_EQ(properties.multiProcessorCount, 132);
  EXPECT_EQ(properties.sharedMemPerBlockOptin, 227U * 1024);
  EXPECT_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  float* data = allocate<float>(1);
  EXPECT_EQ(write_at(data, 0, 1, stream()), cudaErrorInvalidResourceHandle)
      << "the stream is one of device 0";
  cudaPointerAttributes attributes{};
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, data), cudaSuccess);
  EXPECT_EQ(attributes.device, 1);
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
}

TEST_F(DevicesTest, WithoutADriverEverythingSaysSo) {
  const Settings with = settings();
  Settings without = with;
  without.driver = false;
  configure(without);
  int count = -1, version = -1;
  void* memory = nullptr;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
  EXPECT_EQ(count, -1);
  EXPECT_EQ(cudaMalloc(&memory, 4), cudaErrorInsufficientDriver);
  EXPECT_EQ(cudaDriverGetVersion(&version), cudaSuccess);
  EXPECT_EQ(version, 0);
  Settings empty = with;
  empty.devices.clear();
  configure(empty);
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorNoDevice);
  configure(with);
  (void)cudaGetLastError();
}

using ControlTest = DeviceTest;

TEST_F(ControlTest, CallsAreCountedAndFailOnDemand) {
  forget_calls();
  fail_next("cudaMalloc", 2, cudaErrorECCUncorrectable);
  void *first = nullptr, *second = nullptr;
  EXPECT_EQ(cudaMalloc(&first, 4), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&second, 4), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaMalloc(&second, 4), cudaSuccess);
  EXPECT_EQ(calls("cudaMalloc"), 3U);
  EXPECT_EQ(live_objects().allocations, 2);
  EXPECT_EQ(cudaFree(first), cudaSuccess);
  EXPECT_EQ(cudaFree(second), cudaSuccess);
  EXPECT_THAT(calls(),
              testing::UnorderedElementsAre(testing::Pair("cudaMalloc", 3U), testing::Pair("cudaFree", 2U)));
  float* data = allocate<float>(1);
  fail_next("cudaLaunchKernelEx", 1, cudaErrorNoKernelImageForDevice);
  EXPECT_EQ(write_at(data, 0, 1, stream()), cudaErrorNoKernelImageForDevice);
}

}  // namespace
}  // namespace chorus::cuda_emulation
