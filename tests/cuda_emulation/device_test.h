#pragma once

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/settings.h"
#include "tests/cuda_emulation/test_kernels.h"

namespace chorus::cuda_emulation {

// Each test begins with the settings of the environment and leaves nothing behind.
class DeviceTest : public testing::Test {
 protected:
  DeviceTest() { EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess); }
  ~DeviceTest() override {
    fail_no_more();
    (void)cudaGetLastError();
    for (void* memory : memory_) EXPECT_EQ(cudaFree(memory), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
    EXPECT_EQ(live_objects(), before_) << describe(live_objects());
    configure(settings_before_);
  }

  cudaStream_t stream() const { return stream_; }
  cudaError_t synchronize() const { return cudaStreamSynchronize(stream_); }

  template <typename T>
  T* allocate(std::size_t count) {
    void* memory = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, count * sizeof(T)), cudaSuccess);
    memory_.push_back(memory);
    return static_cast<T*>(memory);
  }
  template <typename T>
  T* upload(const std::vector<T>& values) {
    T* memory = allocate<T>(values.size());
    EXPECT_EQ(cudaMemcpy(memory, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice),
              cudaSuccess);
    return memory;
  }
  template <typename T>
  std::vector<T> download(const T* memory, std::size_t count) const {
    std::vector<T> values(count);
    EXPECT_EQ(cudaMemcpyAsync(values.data(), memory, count * sizeof(T), cudaMemcpyDeviceToHost, stream_),
              cudaSuccess);
    EXPECT_EQ(synchronize(), cudaSuccess);
    return values;
  }
  // Must be freed by a test that lives.
  float* pinned(std::size_t count) const {
    void* memory = nullptr;
    EXPECT_EQ(cudaHostAlloc(&memory, count * sizeof(float), cudaHostAllocDefault), cudaSuccess);
    return static_cast<float*>(memory);
  }

  static std::vector<float> counted(std::size_t count) {
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i);
    return values;
  }

 private:
  LiveObjects before_ = live_objects();
  Settings settings_before_ = settings();
  cudaStream_t stream_ = nullptr;
  std::vector<void*> memory_;
};

inline auto finds_fault() { return testing::ExitedWithCode(fault_exit_code); }

}  // namespace chorus::cuda_emulation
