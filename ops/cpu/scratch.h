#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "ops/base/error.h"

namespace chorus {

// Working memory of one thread, kept between calls. It grows to the largest demand and then never allocates.
class Scratch {
 public:
  static constexpr std::int64_t alignment = 64;  // a cache line, and the widest vector load

  // Uninitialised; what an earlier call returned is no longer valid. Throws MemoryError.
  void* bytes(std::int64_t size) {
    if (size > size_) {
      const std::int64_t rounded = (size + alignment - 1) / alignment * alignment;
      memory_.reset();
      size_ = 0;
      memory_.reset(std::aligned_alloc(alignment, static_cast<std::size_t>(rounded)));
      require<MemoryError>(memory_ != nullptr, "no room for ", rounded,
                           " bytes of working memory of one CPU thread");
      size_ = rounded;
    }
    return memory_.get();
  }
  float* floats(std::int64_t count) {
    return static_cast<float*>(bytes(count * static_cast<std::int64_t>(sizeof(float))));
  }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_;
  std::int64_t size_ = 0;
};

// Cuts consecutive cache-line-aligned pieces off a scratch block: one pass counts, a second one hands out.
class ScratchCutter {
 public:
  explicit ScratchCutter(float* base = nullptr) : base_(base) {}

  float* take(std::int64_t floats) {
    constexpr std::int64_t line = Scratch::alignment / static_cast<std::int64_t>(sizeof(float));
    const std::int64_t begin = used_;
    used_ += (floats + line - 1) / line * line;
    return base_ == nullptr ? nullptr : base_ + begin;
  }
  std::int64_t used() const { return used_; }

 private:
  float* base_;
  std::int64_t used_ = 0;
};

}  // namespace chorus
