#pragma once

#include <algorithm>
#include <cstdint>

#include <omp.h>

namespace chorus {

// Both loops call the body once for each item, in any order and on any thread, and wait for the end. A result
// that depends only on its item is therefore the same for any number of threads. Bodies must not throw. In a
// program built without OpenMP they run on the calling thread.

// Items of equal cost: body(item). Thread t gets the t-th run of neighbouring items, call after call, so that
// data stays in the caches of its core.
template <typename Body>
void parallel_for(int threads, std::int64_t count, const Body& body) {
  if (threads == 1 || count <= 1) {
    for (std::int64_t i = 0; i < count; ++i) body(i);
    return;
  }
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::int64_t i = 0; i < count; ++i) body(i);
}

// Items of unequal cost: body(item, worker) with 0 <= worker < threads. Whoever is free takes the next one.
template <typename Body>
void parallel_tasks(int threads, std::int64_t count, const Body& body) {
  if (threads == 1 || count <= 1) {
    for (std::int64_t i = 0; i < count; ++i) body(i, 0);
    return;
  }
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (std::int64_t i = 0; i < count; ++i) body(i, omp_get_thread_num());
}

// Splits `count` items into chunks of `chunk` and calls body(begin, end) for each: small arrays stay on one
// thread, since waking the others costs more than the work.
template <typename Body>
void parallel_chunks(int threads, std::int64_t count, std::int64_t chunk, const Body& body) {
  parallel_for(threads, (count + chunk - 1) / chunk,
               [&](std::int64_t i) { body(i * chunk, std::min(count, (i + 1) * chunk)); });
}

// Elements that one thread should at least have to do: about ten microseconds of simple work.
inline constexpr std::int64_t elements_per_chunk = 16384;

// The same in rows of `width` elements.
constexpr std::int64_t rows_per_chunk(std::int64_t width) {
  return std::max<std::int64_t>(1, elements_per_chunk / std::max<std::int64_t>(1, width));
}

}  // namespace chorus
