#include "ops/cpu/thread_team.h"

#include <chrono>

#include <omp.h>

namespace chorus {

namespace {

constexpr std::chrono::microseconds patience{100};

// Until the value is another one, which it gives back.
template <typename T>
T await_change(const std::atomic<T>& value, T old) {
  const auto end = std::chrono::steady_clock::now() + patience;
  do {
    if (const T now = value.load(); now != old) return now;
  } while (std::chrono::steady_clock::now() < end);
  value.wait(old);
  return value.load();
}

}  // namespace

ThreadTeam::ThreadTeam(int size) : size_(size), claimed_(static_cast<std::size_t>(size)) {
  try {
    for (int worker = 1; worker < size; ++worker) others_.emplace_back([this, worker] { serve(worker); });
  } catch (...) {
    end();
    throw;
  }
}

ThreadTeam::~ThreadTeam() { end(); }

void ThreadTeam::end() {
  ends_ = true;
  phase_ += 2;
  phase_.notify_all();
  for (std::thread& other : others_) other.join();
}

// A thread that comes late has raised inside_ before it looks whether the work is still there, and the caller has ended
// the work before it looks at inside_: in one order of all four, at least one of the two sees the other.
void ThreadTeam::run_erased(Call call, const void* work) {
  call_ = call;
  work_ = work;
  for (std::atomic<bool>& share : claimed_) share.store(false, std::memory_order_relaxed);
  ++phase_;
  phase_.notify_all();
  call(work, 0);
  ++phase_;
  for (int inside = inside_; inside != 0;) inside = await_change(inside_, inside);
}

void ThreadTeam::serve(int worker) {
  omp_set_num_threads(1);  // what oneDNN asks for its own loops, thread by thread
  for (std::uint32_t phase = 0;;) {
    phase = await_change(phase_, phase);
    if (ends_) return;
    if (phase % 2 == 0) continue;
    ++inside_;
    if (phase_ == phase) call_(work_, worker);
    --inside_;
    inside_.notify_one();
  }
}

}  // namespace chorus
