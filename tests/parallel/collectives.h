#pragma once

#include <vector>

#include <gtest/gtest.h>

#include "ops/transfer.h"
#include "parallel/communicator.h"

namespace chorus::test {

// The same checks for every kind of communicator; `group` is one group of a rank.
inline void check_collectives(Communicator& group, Backend& backend) {
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
  const Tensor terms = arena.take(DType::f32, {size, 3});
  upload_floats(backend, terms, std::vector<float>(static_cast<std::size_t>(3 * size), rank + 1));
  group.reduce_scatter(terms);
  const float sum = static_cast<float>(size * (size + 1)) / 2;
  EXPECT_EQ(download_floats(backend, terms.rows(group.rank(), group.rank() + 1)), std::vector<float>(3, sum));
  group.begin_all_reduce(rows);
  group.finish();
  EXPECT_EQ(download_floats(backend, rows)[0], 0);
  EXPECT_EQ(download_floats(backend, rows).back(), static_cast<float>(size * (size - 1)));
  group.barrier();
}

}  // namespace chorus::test
