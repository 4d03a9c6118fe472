#pragma once

#include <atomic>
#include <cstdint>

namespace chorus {

// While one lives, its thread is in a library that does not look whether the system gave it memory, and falls over
// (SIGSEGV) at an address near null where it gave none. What the memory was for is then said
// (launch/process/fatal_signals.h).
class UncheckedMemory {
 public:
  static constexpr std::uintptr_t largest_address = std::uintptr_t{1} << 20U;  // "near null"

  explicit UncheckedMemory(const char* purpose) : before_(purpose_) {
    purpose_ = purpose;
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  ~UncheckedMemory() {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    purpose_ = before_;
  }
  UncheckedMemory(const UncheckedMemory&) = delete;
  UncheckedMemory& operator=(const UncheckedMemory&) = delete;

  // Of the innermost one of this thread; null: there is none. May be asked by a signal handler.
  static const char* purpose() { return purpose_; }

 private:
  inline static constinit thread_local const char* purpose_ = nullptr;
  const char* before_;
};

}  // namespace chorus
