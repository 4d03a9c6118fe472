#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "ops/cpu/thread_team.h"

namespace chorus {

// Both loops call the body once for each item, in any order and on any thread, and wait for the end. A result
// that depends only on its item is therefore the same for any number of threads. Bodies must not throw.

// Items of equal cost: body(item). Thread t gets the t-th run of neighbouring items, call after call, so that
// data stays in the caches of its core, unless another thread is done before it has begun.
template <typename Body>
void parallel_for(ThreadTeam& threads, std::int64_t count, const Body& body) {
  const std::int64_t runs = threads.size();
  if (runs == 1 || count <= 1) {
    for (std::int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  threads.run([&](int worker) {
    for (std::int64_t other = 0; other < runs; ++other) {
      const std::int64_t run = (worker + other) % runs;
      if (!threads.claim(static_cast<int>(run))) continue;
      for (std::int64_t i = count * run / runs; i < count * (run + 1) / runs; ++i) body(i);
    }
  });
}

// Items of unequal cost: body(item, worker) with 0 <= worker < threads. Whoever is free takes the next one.
template <typename Body>
void parallel_tasks(ThreadTeam& threads, std::int64_t count, const Body& body) {
  if (threads.size() == 1 || count <= 1) {
    for (std::int64_t i = 0; i < count; ++i) body(i, 0);
    return;
  }
  std::atomic<std::int64_t> next{0};
  threads.run([&](int worker) {
    for (std::int64_t i = next++; i < count; i = next++) body(i, worker);
  });
}

// Splits `count` items into chunks of `chunk` and calls body(begin, end) for each: small arrays stay on one
// thread, since waking the others costs more than the work.
template <typename Body>
void parallel_chunks(ThreadTeam& threads, std::int64_t count, std::int64_t chunk, const Body& body) {
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
