#include "parallel/communicator.h"

#include <cstring>

#include <gtest/gtest.h>

#include "ops/cpu/cpu_backend.h"
#include "ops/transfer.h"
#include "parallel/mpi_session.h"
#include "parallel/thread_communicator.h"

namespace chorus {
namespace {

// The same checks for every kind of communicator; `group` is one group of a rank.
void check_collectives(Communicator& group) {
  CpuBackend backend(1);
  Arena arena(backend, std::int64_t{64} << 20, "test");
  const auto rank = static_cast<float>(group.rank());
  const int size = group.size();
  for (const DType dtype : {DType::f32, DType::bf16}) {
    // 3 000 001 elements go in several pieces over MPI.
    const std::int64_t n = dtype == DType::f32 ? 3'000'001 : 17;
    Arena::Scope scope(arena);
    const Tensor x = arena.take(dtype, {n});
    std::vector<float> values(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = rank + static_cast<float>(i % 5);
    upload_floats(backend, x, values);
    group.all_reduce(x, Reduce::sum);
    std::vector<float> sums = download_floats(backend, x);
    const float ranks_sum = static_cast<float>(size * (size - 1)) / 2;
    for (std::size_t i = 0; i < sums.size(); ++i) {
      ASSERT_EQ(sums[i], ranks_sum + static_cast<float>(size) * static_cast<float>(i % 5))
          << name(dtype) << " " << i;
    }
    upload_floats(backend, x, values);
    group.all_reduce(x, Reduce::max);
    EXPECT_EQ(download_floats(backend, x)[6], static_cast<float>(size - 1) + 1);
    upload_floats(backend, x, values);
    group.broadcast(x, size - 1);
    EXPECT_EQ(download_floats(backend, x)[1], static_cast<float>(size - 1) + 1);
  }
  const Tensor rows = arena.take(DType::f32, {size, 3});
  backend.fill(rows, -1);
  upload_floats(backend, rows.rows(group.rank(), group.rank() + 1), std::vector<float>(3, rank));
  group.all_gather(rows);
  const std::vector<float> gathered = download_floats(backend, rows);
  for (int other = 0; other < size; ++other)
    EXPECT_EQ(gathered[static_cast<std::size_t>(other * 3 + 2)], static_cast<float>(other));
  group.barrier();
}

TEST(ThreadCommunicator, Collectives) {
  run_on_threads(2, 2, [](const Groups& groups) {
    check_collectives(groups.world);
    check_collectives(groups.data);
    check_collectives(groups.tensor);
  });
  run_on_threads(1, 3, [](const Groups& groups) { check_collectives(groups.world); });
}

TEST(ThreadCommunicator, TheFirstFailureIsThrownAndNobodyWaits) {
  EXPECT_THROW(run_on_threads(2, 2,
                              [](const Groups& groups) {
                                require<DataError>(groups.grid.rank != 2, "rank 2 failed");
                                for (;;) groups.tensor.barrier();
                              }),
               DataError);
}

// Started by mpirun in the tests named Mpi…, alone otherwise.
TEST(MpiCommunicator, Collectives) {
  if (!started_by_mpi()) GTEST_SKIP() << "not started by mpirun: see the tests Mpi.Collectives";
  const MpiSession session;
  const auto grid = session.make_groups(session.size());
  check_collectives(grid->groups().world);
  check_collectives(grid->groups().data);
  check_collectives(grid->groups().tensor);
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
