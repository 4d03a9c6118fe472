#include "data/sets/epochs.h"

#include <gtest/gtest.h>

namespace chorus {
namespace {

TEST(Epochs, OfOneLengthAreCountedByDivision) {
  const Epochs epochs({33}, 8);  // 5 steps
  EXPECT_EQ(epochs.begin(0), 0);
  EXPECT_EQ(epochs.begin(7), 35);
  EXPECT_EQ(epochs.of(4), 0);
  EXPECT_EQ(epochs.of(5), 1);
  EXPECT_EQ(epochs.of(39), 7);
  EXPECT_EQ(epochs.steps_of(3), 15);
  EXPECT_EQ(epochs.steps_of(0.5), 3) << "a part of an epoch is rounded up";
  EXPECT_EQ(epochs.steps_of(2.2), 11) << "but not by what 2.2 lacks as a binary number";
  EXPECT_DOUBLE_EQ(epochs.after(7), 1.4);
  EXPECT_FALSE(epochs.end_after(0));
  EXPECT_FALSE(epochs.end_after(9));
  EXPECT_TRUE(epochs.end_after(10));
}

TEST(Epochs, GrowUntilTheLastLength) {
  const Epochs epochs({10, 20, 33}, 8);  // 2, 3 and 5 steps, then always 5
  const std::int64_t begins[] = {0, 2, 5, 10, 15, 20};
  for (std::int64_t epoch = 0; epoch < 6; ++epoch) {
    EXPECT_EQ(epochs.begin(epoch), begins[epoch]);
    EXPECT_EQ(epochs.of(begins[epoch]), epoch);
    EXPECT_EQ(epochs.end_after(begins[epoch]), epoch > 0);
    EXPECT_DOUBLE_EQ(epochs.after(begins[epoch]), static_cast<double>(epoch));
    EXPECT_EQ(epochs.steps_of(static_cast<double>(epoch)), begins[epoch]);
  }
  EXPECT_EQ(epochs.of(4), 1);
  EXPECT_EQ(epochs.of(19), 4);
  EXPECT_FALSE(epochs.end_after(4));
  EXPECT_DOUBLE_EQ(epochs.after(3), 1 + 1.0 / 3);
  EXPECT_EQ(epochs.steps_of(1.5), 4);
}

}  // namespace
}  // namespace chorus
