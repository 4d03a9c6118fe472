#pragma once

#include <cstdint>
#include <string>

#include "ops/backend.h"

namespace chorus {

// Hands out tensors from one buffer, last in first out, so that nothing is allocated while training runs.
//
// A measuring arena owns no memory and has no limit: the same code that will run is run once on it (with a
// DryBackend, which computes nothing), and peak_bytes() is then exactly what a real arena needs.
class Arena {
 public:
  static constexpr std::int64_t alignment = 256;

  // `purpose` names the arena in error messages. Throws MemoryError where the backend has no room.
  Arena(Backend& backend, std::int64_t bytes, std::string purpose);
  static Arena measuring();

  // Uninitialised. Throws MemoryError with the numbers if it does not fit.
  Tensor take(DType dtype, const Shape& shape);

  std::int64_t peak_bytes() const { return peak_; }
  std::int64_t capacity() const { return capacity_; }

  // Gives back on destruction everything taken since construction.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), used_(arena.used_) {}
    ~Scope() { arena_.used_ = used_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    std::int64_t used_;
  };

 private:
  Arena() = default;
  Buffer buffer_;
  char* base_ = nullptr;
  std::int64_t capacity_ = 0, used_ = 0, peak_ = 0;
  std::string purpose_;
};

}  // namespace chorus
