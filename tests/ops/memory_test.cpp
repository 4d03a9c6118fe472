#include "ops/memory.h"

#include <utility>

#include <gmock/gmock.h>

#include "ops/cpu/cpu_backend.h"

namespace chorus {
namespace {

TEST(BufferTest, ReleasesOnceAfterMoves) {
  int released = 0;
  {
    int memory = 0;
    Buffer first(&memory, 4, [&](void* data) {
      EXPECT_EQ(data, &memory);
      ++released;
    });
    Buffer second(std::move(first));
    Buffer third;
    third = std::move(second);
    EXPECT_EQ(third.data(), &memory);
    EXPECT_EQ(third.bytes(), 4);
    EXPECT_EQ(released, 0);
  }
  EXPECT_EQ(released, 1);
}

TEST(ArenaTest, HandsOutAlignedPiecesAndTakesThemBack) {
  CpuBackend backend(1);
  Arena arena(backend, 1024, "test");
  const Tensor first = arena.take(DType::f32, {3});
  const void* inside = nullptr;
  {
    Arena::Scope scope(arena);
    const Tensor second = arena.take(DType::bf16, {2, 5});
    inside = second.address();
    EXPECT_EQ(static_cast<const char*>(inside) - static_cast<const char*>(first.address()), Arena::alignment);
    EXPECT_EQ(arena.peak_bytes(), 512);
  }
  EXPECT_EQ(arena.take(DType::i64, {1}).address(), inside);
  EXPECT_EQ(arena.peak_bytes(), 512);
  EXPECT_EQ(arena.capacity(), 1024);
}

TEST(ArenaTest, SaysWhatDidNotFit) {
  CpuBackend backend(1);
  Arena arena(backend, 1024, "activation");
  arena.take(DType::f32, {100});
  try {
    arena.take(DType::f32, {10, 20});
    FAIL() << "800 bytes do not fit beside 512 in 1024";
  } catch (const MemoryError& error) {
    EXPECT_THAT(error.what(),
                ::testing::HasSubstr("the activation arena of 1024 bytes has no room for 800 bytes more "
                                     "(f32 [10, 20]), 512 are in use"));
    EXPECT_EQ(error.exit_code(), ExitCode::memory);
  }
}

}  // namespace
}  // namespace chorus
