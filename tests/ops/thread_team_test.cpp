#include "ops/cpu/thread_team.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <pthread.h>

#include "ops/cpu/parallel_for.h"

namespace chorus {
namespace {

// Many short loops, so that threads come early, late and not at all.
TEST(ThreadTeam, DoesEveryItemOnce) {
  for (const int size : {1, 2, 3, 8}) {
    ThreadTeam team(size);
    for (std::int64_t loop = 0; loop < 2000; ++loop) {
      const std::int64_t count = loop % 21;
      std::vector<int> equal(static_cast<std::size_t>(count)), unequal(equal);
      parallel_for(team, count, [&](std::int64_t i) { ++equal[static_cast<std::size_t>(i)]; });
      parallel_tasks(team, count, [&](std::int64_t i, int worker) {
        if (worker >= 0 && worker < size) ++unequal[static_cast<std::size_t>(i)];
      });
      ASSERT_EQ(equal, std::vector<int>(static_cast<std::size_t>(count), 1))
          << size << " threads, loop " << loop;
      ASSERT_EQ(unequal, equal) << size << " threads, loop " << loop;
    }
  }
}

TEST(ThreadTeam, WorksOnALoopTogether) {
  ThreadTeam team(3);
  std::atomic<int> there{0};
  // Each item waits for the others: it ends only if three threads work at the same time.
  parallel_tasks(team, 3, [&](std::int64_t, int) {
    ++there;
    while (there < 3) std::this_thread::yield();
  });
  EXPECT_EQ(there, 3);
}

std::atomic<bool> held{false}, released{false};
extern "C" void hold(int) {
  held = true;
  while (!released) {
  }
}

// As when another program has taken its core: what it would have done is done by the others.
TEST(ThreadTeam, DoesNotWaitForAThreadThatHasNotBegun) {
  ThreadTeam team(2);
  pthread_t other{};
  std::atomic<int> there{0};
  parallel_tasks(team, 2, [&](std::int64_t, int worker) {
    if (worker == 1) other = pthread_self();
    ++there;
    while (there < 2) std::this_thread::yield();
  });
  std::signal(SIGUSR1, hold);
  ASSERT_EQ(pthread_kill(other, SIGUSR1), 0);
  while (!held) std::this_thread::yield();
  int equal = 0, unequal = 0;  // only the caller is left
  parallel_for(team, 10, [&](std::int64_t) { ++equal; });
  parallel_tasks(team, 10, [&](std::int64_t, int) { ++unequal; });
  EXPECT_EQ(equal, 10);
  EXPECT_EQ(unequal, 10);
  released = true;
}

double processor_seconds() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

TEST(ThreadTeam, SleepsWhileThereIsNothingToDo) {
  ThreadTeam team(4);
  parallel_for(team, 4, [](std::int64_t) {});
  const double before = processor_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(processor_seconds() - before, 0.02);
}

// While one item takes long, those that are done leave their cores to others.
TEST(ThreadTeam, SleepsWhileAnotherThreadWorks) {
  ThreadTeam team(4);
  const double before = processor_seconds();
  parallel_tasks(team, 4, [](std::int64_t i, int) {
    if (i == 0) std::this_thread::sleep_for(std::chrono::milliseconds(300));
  });
  EXPECT_LT(processor_seconds() - before, 0.02);
}

}  // namespace
}  // namespace chorus
