#include "parallel/communicator.h"

#include <atomic>
#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "ops/cpu/cpu_backend.h"
#include "parallel/mpi_session.h"
#include "parallel/thread_communicator.h"
#include "tests/parallel/collectives.h"

namespace chorus {
namespace {

void check_on_host(Communicator& group) {
  CpuBackend backend(1);
  test::check_collectives(group, backend);
}

TEST(ThreadCommunicator, Collectives) {
  run_on_threads(2, 2, [](const Groups& groups) {
    check_on_host(groups.world);
    check_on_host(groups.data);
    check_on_host(groups.tensor);
  });
  run_on_threads(1, 3, [](const Groups& groups) { check_on_host(groups.world); });
}

TEST(ThreadCommunicator, TheFirstFailureIsThrownAndNobodyWaits) {
  EXPECT_THROW(run_on_threads(2, 2,
                              [](const Groups& groups) {
                                require<DataError>(groups.grid.rank != 2, "rank 2 failed");
                                for (;;) groups.tensor.barrier();
                              }),
               DataError);
}

TEST(ThreadGroup, WhoHasMetStaysUntilAllAreDone) {
  ThreadGroup group(2);
  std::atomic<bool> left = false;
  std::jthread other([&] {
    group.meet();
    group.part();
    left = true;
  });
  group.meet();
  group.abort();  // by a rank of another group
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(left) << "its memory is still read";
  group.part();
  other.join();
  EXPECT_THROW(group.meet(), Error);
}

// The last rank speaks, twice; the others hear it without taking part, and nobody before.
void check_notice(const MpiSession& session) {
  EXPECT_FALSE(session.notified());
  session.make_groups(1)->groups().world.barrier();
  if (session.rank() == session.size() - 1) {
    session.notify_all();
    session.notify_all();
  }
  while (!session.notified()) std::this_thread::yield();
}

// Started by mpirun in the tests named Mpi…, alone otherwise.
TEST(MpiCommunicator, Collectives) {
  if (!started_by_mpi()) GTEST_SKIP() << "not started by mpirun: see the tests Mpi.Collectives";
  const MpiSession session;
  const auto grid = session.make_groups(session.size());
  check_on_host(grid->groups().world);
  check_on_host(grid->groups().data);
  check_on_host(grid->groups().tensor);
  check_notice(session);
}

TEST(ProcessGrid, Coordinates) {
  const ProcessGrid grid = make_grid(6, 2, 5);
  EXPECT_EQ(grid.data_size, 3);
  EXPECT_EQ(grid.data_rank(), 2);
  EXPECT_EQ(grid.tensor_rank(), 1);
  try {
    make_grid(6, 4, 0);
    FAIL();
  } catch (const ConfigurationError& error) {
    EXPECT_STREQ(error.what(), "--tensor-parallel 4 does not divide the 6 ranks that were started");
  }
}

TEST(Shard, PartsCoverEverythingOnce) {
  for (const std::int64_t extent : {0, 1, 7, 8, 105}) {
    for (const int size : {1, 2, 3, 4}) {
      std::int64_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const Shard part = shard(extent, rank, size);
        EXPECT_EQ(part.begin, next);
        next = part.end;
      }
      EXPECT_EQ(next, extent);
    }
  }
}

}  // namespace
}  // namespace chorus
