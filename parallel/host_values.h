#pragma once

#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "ops/memory.h"
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

// Row r are the values of rank r, of which each has as many. Memory and ranks as above.
template <typename T>
std::vector<std::vector<T>> gather_over_ranks(std::span<const T> values, Communicator& ranks,
                                              Backend& backend, Arena& arena) {
  Arena::Scope scope(arena);
  const Tensor all = arena.take(dtype_of<T>(), {ranks.size(), std::ssize(values)});
  backend.upload(all.rows(ranks.rank(), ranks.rank() + 1), values.data());
  ranks.all_gather(all);
  std::vector<std::vector<T>> rows(static_cast<std::size_t>(ranks.size()), std::vector<T>(values.size()));
  for (int rank = 0; rank < ranks.size(); ++rank)
    backend.download(rows[static_cast<std::size_t>(rank)].data(), all.rows(rank, rank + 1));
  return rows;
}

// The texts of all ranks, on all of them. Collective; the communicator passes host memory.
std::vector<std::string> gather_texts(Communicator& ranks, const std::string& text);

}  // namespace chorus
