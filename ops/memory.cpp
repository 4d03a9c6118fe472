#include "ops/memory.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace chorus {

namespace {

Buffer allocate_for(const std::string& purpose, Backend& backend, std::int64_t bytes) {
  try {
    return backend.allocate(bytes);
  } catch (const MemoryError& error) {
    throw MemoryError(fmt::format("the {} arena: {}", purpose, error.what()));
  }
}

}  // namespace

Arena::Arena(Backend& backend, std::int64_t bytes, std::string purpose)
    : buffer_(allocate_for(purpose, backend, bytes)),
      base_(static_cast<char*>(buffer_.data())),
      capacity_(bytes),
      purpose_(std::move(purpose)) {}

Arena Arena::measuring() {
  Arena arena;
  arena.capacity_ = std::numeric_limits<std::int64_t>::max();
  arena.purpose_ = "measuring";
  return arena;
}

Tensor Arena::take(DType dtype, const Shape& shape) {
  const std::int64_t bytes = shape.elements() * bytes_per_element(dtype);
  const std::int64_t rounded = (bytes + alignment - 1) / alignment * alignment;
  require<MemoryError>(rounded <= capacity_ - used_, "the ", purpose_, " arena of ", capacity_,
                       " bytes has no room for ", bytes, " bytes more (", name(dtype), " ", shape, "), ",
                       used_, " are in use");
  Tensor tensor(dtype, shape, base_ + used_);
  used_ += rounded;
  peak_ = std::max(peak_, used_);
  return tensor;
}

}  // namespace chorus
