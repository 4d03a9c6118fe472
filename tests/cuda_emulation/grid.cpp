// One block after the other; in a block, one thread until it waits.

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>

#include <sys/mman.h>

#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/settings.h"
#include "tests/cuda_emulation/shadow.h"

namespace chorus::cuda_emulation {

Block* block = nullptr;
std::shared_ptr<const KernelCall> kernel_call;
unsigned launch_number = 0;

namespace {

constexpr unsigned shared_base =
    0x400;  // of the dynamic part in the window that PTX sees: not zero, as on a GPU

void run_thread() {
  started();
  kernel_call->run();
  leave_block(*current);
  finish(current->fiber);
}

void run(Thread& thread) {
  current = &thread;
  thread_index = thread.index;
  resume(thread.fiber);
  current = nullptr;
}

[[noreturn]] void report_deadlock() {
  std::map<std::string, std::vector<unsigned>> waiting;
  for (const Thread& thread : block->threads) {
    std::string what = "exited";
    if (thread.state == Thread::State::in_barrier) {
      what = fmt::format("in barrier {} at {}", thread.barrier, place(thread.where));
    } else if (thread.state == Thread::State::in_collective) {
      what = fmt::format("in a warp operation of mask {:08x} at {}", thread.mask, place(thread.where));
    }
    waiting[what].push_back(thread.linear);
  }
  std::string text = fmt::format("deadlock in block ({},{},{}) of launch {}, {}:", block_index.x,
                                 block_index.y, block_index.z, launch_number,
                                 function_name(kernel_call->function(), kernel_call->signature()));
  for (const auto& [what, threads] : waiting) {
    text +=
        fmt::format("\n    {} threads ({} to {}) {}", threads.size(), threads.front(), threads.back(), what);
  }
  report_fault("its barriers", text);
}

void order(std::vector<unsigned>& numbers) {
  std::iota(numbers.begin(), numbers.end(), 0U);
  if (settings().order == Order::reversed) std::reverse(numbers.begin(), numbers.end());
  if (settings().order == Order::random) std::shuffle(numbers.begin(), numbers.end(), randomness());
}

// Until all lanes wait for other warps: the largest skew that there can be. In random order not always.
bool run_warp(unsigned warp, std::vector<unsigned>& lanes) {
  const auto size = static_cast<unsigned>(block->threads.size());
  const bool random = settings().order == Order::random;
  bool progress = false;
  for (bool again = true; again;) {
    again = false;
    if (random) std::shuffle(lanes.begin(), lanes.end(), randomness());
    for (const unsigned lane : lanes) {
      const unsigned i = warp * warp_size + lane;
      if (i >= size || block->threads[i].state != Thread::State::ready) continue;
      run(block->threads[i]);
      again = progress = true;
    }
    if (random && randomness()() % 4 == 0) break;
  }
  return progress;
}

void place_shared_memory(std::size_t bytes) {
  constexpr std::size_t alignment = 128;
  block->shared_bytes = bytes;
  block->shared = shared_window().end() - (bytes + alignment - 1) / alignment * alignment;
  std::memset(block->shared, 0xff, bytes);  // NaN in every format
  if (checked) forget_shared();
}

void begin_block() {
  const auto size = static_cast<unsigned>(block->threads.size());
  block->running = size;
  block->barriers = {};
  block->times.fill(1);
  for (unsigned w = 0; w < block->warps.size(); ++w) {
    Warp& warp = block->warps[w];
    const unsigned lanes = std::min(warp_size, size - w * warp_size);
    warp.exists = lanes == warp_size ? ~0U : (1U << lanes) - 1;
    warp.exited = 0;
    for (Warp::Gathering& gathering : warp.gatherings) gathering.arrived = 0;
    block->seen[w].fill(0);
    block->seen[w][w] = 1;
  }
  for (Thread& thread : block->threads) {
    thread.state = Thread::State::ready;
    thread.vote = false;
    thread.open_copies.clear();
    thread.copy_groups.clear();
    prepare(thread.fiber, thread.linear, &run_thread);
  }
}

void run_block() {
  begin_block();
  static std::vector<unsigned> warps, lanes(warp_size);
  warps.resize(block->warps.size());
  order(warps);
  order(lanes);
  while (block->running > 0) {
    bool progress = false;
    if (settings().order == Order::random) std::shuffle(warps.begin(), warps.end(), randomness());
    for (const unsigned warp : warps) progress |= run_warp(warp, lanes);
    if (!progress && block->running > 0) report_deadlock();
  }
}

uint3 coordinates(unsigned long i, dim3 size) {
  return {static_cast<unsigned>(i % size.x), static_cast<unsigned>(i / size.x % size.y),
          static_cast<unsigned>(i / (1UL * size.x * size.y))};
}

void shape_block(dim3 size) {
  const unsigned threads = size.x * size.y * size.z;
  block->threads.resize(threads);
  block->warps.resize((threads + warp_size - 1) / warp_size);
  for (unsigned i = 0; i < threads; ++i) {
    Thread& thread = block->threads[i];
    thread.linear = i;
    thread.lane = i % warp_size;
    thread.warp = i / warp_size;
    thread.index = coordinates(i, size);
  }
}

}  // namespace

const SharedWindow& shared_window() {
  static const SharedWindow window = [] {
    constexpr std::size_t page = SharedWindow::guard_bytes, most = 227 * 1024,
                          bytes = (most + page - 1) / page * page;
    auto* memory =
        static_cast<char*>(mmap(nullptr, bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(memory + page, bytes, PROT_READ | PROT_WRITE);
    return SharedWindow{memory + page, bytes};
  }();
  return window;
}

void run_grid(const cudaLaunchConfig_t& config, const std::shared_ptr<const KernelCall>& call) {
  static Block reused;
  block = &reused;
  kernel_call = call;
  ++launch_number;
  if (checked) begin_launch();
  shape_block(config.blockDim);
  block_size = config.blockDim;
  grid_size = config.gridDim;
  std::vector<unsigned> blocks(std::size_t{grid_size.x} * grid_size.y * grid_size.z);
  order(blocks);
  for (const unsigned i : blocks) {
    block_index = coordinates(i, grid_size);
    block->number = i;
    place_shared_memory(config.dynamicSmemBytes);
    run_block();
  }
  block = nullptr;
  kernel_call = nullptr;
}

void* dynamic_shared_memory() {
  if (block == nullptr) report(Location::current(), "shared memory outside a kernel");
  return block->shared;
}

unsigned shared_offset(const void* pointer, Location where) {
  const auto* p = static_cast<const char*>(pointer);
  if (block == nullptr || p < block->shared || p > block->shared + block->shared_bytes) {
    report(where, "{} is not in shared memory", pointer);
  }
  return static_cast<unsigned>(p - block->shared) + shared_base;
}

void* shared_pointer(unsigned offset, unsigned bytes, bool is_write, Location where) {
  if (offset < shared_base || offset - shared_base + bytes > block->shared_bytes) {
    report(where, "shared {} of {} bytes at offset {} is outside the block's {} bytes",
           is_write ? "write" : "read", bytes, static_cast<int>(offset - shared_base), block->shared_bytes);
  }
  return block->shared + (offset - shared_base);
}

}  // namespace chorus::cuda_emulation
