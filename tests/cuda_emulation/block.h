#pragma once

// The block that runs, its threads, and what they wait for.

#include <array>
#include <deque>
#include <vector>

#include "tests/cuda_emulation/fiber.h"
#include "tests/cuda_emulation/launch.h"

namespace chorus::cuda_emulation {

constexpr unsigned warp_size = 32;
constexpr unsigned most_warps = 32;

// A cp.async whose data have not arrived.
struct AsyncCopy {
  unsigned destination;  // in shared memory
  const void* source;
  unsigned bytes;
  unsigned valid;  // what follows of `bytes` becomes zero
  Location where;
};

struct Thread {
  enum class State : std::uint8_t { ready, in_collective, in_barrier, exited };

  Fiber fiber;
  uint3 index{};
  unsigned linear = 0, lane = 0, warp = 0;
  State state = State::ready;

  Location where;          // of what it waits in
  std::uint32_t mask = 0;  // in a collective
  unsigned barrier = 0;    // in a barrier: which
  bool vote = false;
  Votes votes{};

  std::vector<AsyncCopy> open_copies;  // not yet committed to a group
  std::deque<std::vector<AsyncCopy>> copy_groups;
};

struct Warp {
  // A collective that some of its lanes have reached.
  struct Gathering {
    std::uint32_t mask = 0, arrived = 0;
    Collective operation = nullptr;
    Location where;
    std::array<void*, warp_size> arguments{};
  };

  std::uint32_t exists = 0, exited = 0;
  std::vector<Gathering> gatherings;
};

struct Barrier {
  unsigned arrived = 0;
  unsigned expected = 0;  // 0: all threads that have not exited
  Location where;         // where the first to come waits
};

using WarpTimes = std::array<std::uint32_t, most_warps>;

struct Block {
  unsigned long number = 0;  // in its grid
  unsigned running = 0;      // threads that have not exited
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::array<Barrier, 16> barriers;
  char* shared = nullptr;
  std::size_t shared_bytes = 0;

  // Happens-before as vector clocks: the time of each warp, and what each warp has seen of the times of others.
  WarpTimes times{};
  std::array<WarpTimes, most_warps> seen{};
};

extern Block* block;  // null outside a kernel
extern std::shared_ptr<const KernelCall> kernel_call;
extern unsigned launch_number;

// Where blocks have their shared memory: it ends at a page that cannot be touched, and begins after another.
struct SharedWindow {
  static constexpr std::size_t guard_bytes = 4096;
  char* begin;
  std::size_t bytes;
  char* end() const { return begin + bytes; }
};
const SharedWindow& shared_window();

void run_grid(const cudaLaunchConfig_t& config, const std::shared_ptr<const KernelCall>& call);

// What an exit means to those who wait.
void leave_block(Thread& thread);
// All that these warps did before happens before what they do next.
void join_times(std::uint32_t warps);

// cp.async: what has been asked for arrives when it is waited for.
void start_copy(const AsyncCopy& copy);
void commit_copies();
void wait_for_copies(std::size_t groups_left);
void wait_for_all_copies();

}  // namespace chorus::cuda_emulation
