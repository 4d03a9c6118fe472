#pragma once

#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "ops/backend.h"
#include "parallel/communicator.h"

namespace chorus {

// Adds up, over the ranks of a communicator, what stands in the host memory of each: f64, f32 or i32. Communicators pass
// device memory, of which some of `arena` is used meanwhile. Collective; one rank alone has its sum.
template <typename T>
void sum_over_ranks(std::span<T> values, Communicator& ranks, Backend& backend, Arena& arena) {
  if (ranks.size() == 1) return;
  Arena::Scope scope(arena);
  const Tensor tensor = arena.take(dtype_of<T>(), {std::ssize(values)});
  backend.upload(tensor, values.data());
  ranks.all_reduce(tensor);
  backend.download(values.data(), tensor);
}

template <typename T>
T sum_over_ranks(T value, Communicator& ranks, Backend& backend, Arena& arena) {
  sum_over_ranks(std::span<T>(&value, 1), ranks, backend, arena);
  return value;
}

// The texts of all ranks, on all of them. Collective; the communicator passes host memory.
std::vector<std::string> gather_texts(Communicator& ranks, const std::string& text);

}  // namespace chorus
