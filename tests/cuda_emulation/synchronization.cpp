// Barriers of the block and meetings of a warp's lanes: the only places where threads wait.

#include <algorithm>
#include <bit>
#include <cstring>

#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/shadow.h"

namespace chorus::cuda_emulation {
namespace {

bool same_place(const Location& a, const Location& b) {
  if (a.line() != b.line()) return false;
  return a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0;
}

void open_barrier(unsigned id) {
  Votes votes{};
  std::uint32_t warps = 0;
  const auto waits = [&](const Thread& thread) {
    return thread.state == Thread::State::in_barrier && thread.barrier == id;
  };
  for (const Thread& thread : block->threads) {
    if (!waits(thread)) continue;
    votes.yes += thread.vote;
    ++votes.all;
    warps |= 1U << thread.warp;
  }
  for (Thread& thread : block->threads) {
    if (!waits(thread)) continue;
    thread.state = Thread::State::ready;
    thread.votes = votes;
  }
  block->barriers[id] = {};
  join_times(warps);
}

void arrive(unsigned id, unsigned threads, Location where) {
  if (current == nullptr) report(where, "a barrier outside a kernel");
  if (id >= block->barriers.size()) report(where, "barrier {} of 0 to 15", id);
  if (threads % warp_size != 0) report(where, "a barrier of {} threads, which are not whole warps", threads);
  Barrier& barrier = block->barriers[id];
  if (barrier.arrived == 0) {
    barrier.where = where;
    barrier.expected = threads;
  } else if (barrier.expected != threads) {
    report(where, "barrier {} of {} threads is already in use for {}", id, threads, barrier.expected);
  } else if (!same_place(barrier.where, where)) {
    report(where, "divergent barrier {}: others wait at {}", id, place(barrier.where));
  }
  ++barrier.arrived;
  Thread& self = *current;
  self.barrier = id;
  self.state = Thread::State::in_barrier;
  self.where = where;
  if (barrier.arrived == (threads == 0 ? block->running : threads)) {
    open_barrier(id);
  } else {
    suspend(self.fiber);
  }
}

Warp::Gathering& gathering_of(Warp& warp, std::uint32_t mask, Collective operation, Location where) {
  for (Warp::Gathering& gathering : warp.gatherings) {
    if (gathering.arrived == 0 || gathering.mask != mask) continue;
    if (gathering.operation != operation || !same_place(gathering.where, where)) {
      report(where, "the warp has diverged: lanes {:08x} wait with the same mask at {}", gathering.arrived,
             place(gathering.where));
    }
    return gathering;
  }
  const auto unused = std::find_if(warp.gatherings.begin(), warp.gatherings.end(),
                                   [](const Warp::Gathering& gathering) { return gathering.arrived == 0; });
  Warp::Gathering& result = unused == warp.gatherings.end() ? warp.gatherings.emplace_back() : *unused;
  result.mask = mask;
  result.operation = operation;
  result.where = where;
  return result;
}

}  // namespace

void join_times(std::uint32_t warps) {
  if (!checked) return;
  WarpTimes joined{};
  const auto count = static_cast<unsigned>(block->warps.size());
  for (unsigned w = 0; w < count; ++w) {
    if ((warps >> w & 1) == 0) continue;
    ++block->times[w];
    for (unsigned other = 0; other < count; ++other)
      joined[other] = std::max(joined[other], block->seen[w][other]);
  }
  for (unsigned w = 0; w < count; ++w) {
    if ((warps >> w & 1) != 0) joined[w] = block->times[w];
  }
  for (unsigned w = 0; w < count; ++w) {
    if ((warps >> w & 1) != 0) block->seen[w] = joined;
  }
}

void leave_block(Thread& thread) {
  thread.state = Thread::State::exited;
  Warp& warp = block->warps[thread.warp];
  warp.exited |= 1U << thread.lane;
  for (const Warp::Gathering& gathering : warp.gatherings) {
    if (gathering.arrived != 0 && (gathering.mask >> thread.lane & 1) != 0) {
      report(gathering.where, "a warp operation of mask {:08x} waits for lane {}, which exits",
             gathering.mask, thread.lane);
    }
  }
  const bool pending =
      !thread.open_copies.empty() || std::any_of(thread.copy_groups.begin(), thread.copy_groups.end(),
                                                 [](const auto& group) { return !group.empty(); });
  if (pending) report(Location::current(), "the thread ends without having waited for its cp.async copies");
  --block->running;
  const Barrier& barrier = block->barriers[0];
  if (barrier.arrived != 0 && barrier.expected == 0 && barrier.arrived == block->running) open_barrier(0);
}

void barrier(unsigned id, unsigned threads, Location where) { arrive(id, threads, where); }

Votes barrier_with_vote(bool vote, Location where) {
  if (current != nullptr) current->vote = vote;
  arrive(0, 0, where);
  current->vote = false;
  return current->votes;
}

unsigned lane() { return current == nullptr ? 0 : current->lane; }

void collective(Collective operation, void* argument, std::uint32_t mask, Location where) {
  if (current == nullptr) report(where, "a warp operation outside a kernel");
  Thread& self = *current;
  Warp& warp = block->warps[self.warp];
  if ((mask >> self.lane & 1) == 0) report(where, "lane {} is not in its own mask {:08x}", self.lane, mask);
  if ((mask & ~warp.exists) != 0) {
    report(where, "mask {:08x} names lanes that the block does not have; it has {:08x}", mask, warp.exists);
  }
  if ((mask & warp.exited) != 0) {
    report(where, "mask {:08x} names lanes that have exited: {:08x}", mask, warp.exited);
  }
  Warp::Gathering& gathering = gathering_of(warp, mask, operation, where);
  gathering.arguments[self.lane] = argument;
  gathering.arrived |= 1U << self.lane;
  if (gathering.arrived != mask) {
    self.state = Thread::State::in_collective;
    self.mask = mask;
    self.where = where;
    suspend(self.fiber);
    return;
  }
  Thread* lanes = &block->threads[std::size_t{self.warp} * warp_size];
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    lanes[std::countr_zero(rest)].state = Thread::State::ready;
  }
  gathering.arrived = 0;
  operation(gathering.arguments.data(), mask, where);
}

void shuffle_lanes(void** shuffles, std::uint32_t mask, Location where) {
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    auto& shuffle = *static_cast<Shuffle*>(shuffles[lane]);
    if ((mask >> shuffle.source & 1) == 0) {
      report(where, "shuffle: lane {} reads lane {}, which is not in mask {:08x}", lane, shuffle.source,
             mask);
    }
    shuffle.out = static_cast<const Shuffle*>(shuffles[shuffle.source])->in;
  }
}

void count_ballots(void** ballots, std::uint32_t mask, Location) {
  std::uint32_t votes = 0;
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    if (static_cast<const Ballot*>(ballots[lane])->vote) votes |= 1U << lane;
  }
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    static_cast<Ballot*>(ballots[std::countr_zero(rest)])->votes = votes;
  }
}

void reduce_lanes(void** reductions, std::uint32_t mask, Location) {
  const auto combine = [](Reduction::Operation operation, std::int64_t a, std::int64_t b) {
    switch (operation) {
      case Reduction::Operation::add:
        return a + b;
      case Reduction::Operation::minimum:
        return std::min(a, b);
      case Reduction::Operation::maximum:
        return std::max(a, b);
      case Reduction::Operation::bit_and:
        return a & b;
      case Reduction::Operation::bit_or:
        return a | b;
      case Reduction::Operation::bit_xor:
        return a ^ b;
    }
    return std::int64_t{0};
  };
  const auto& first = *static_cast<const Reduction*>(reductions[std::countr_zero(mask)]);
  std::int64_t result = first.in;
  for (std::uint32_t rest = mask & (mask - 1); rest != 0; rest &= rest - 1) {
    result = combine(first.operation, result,
                     static_cast<const Reduction*>(reductions[std::countr_zero(rest)])->in);
  }
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    static_cast<Reduction*>(reductions[std::countr_zero(rest)])->out = result;
  }
}

void synchronize_warp(void**, std::uint32_t mask, Location) {
  // A partial mask gives no order to the search for races, which knows warps only.
  if (mask == block->warps[current->warp].exists) join_times(1U << current->warp);
}

}  // namespace chorus::cuda_emulation
