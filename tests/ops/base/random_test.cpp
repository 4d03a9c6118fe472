#include "ops/base/random.h"

#include <gmock/gmock.h>

namespace chorus {
namespace {

// The known answers published with Random123 (Salmon et al. 2011).
TEST(PhiloxTest, KnownAnswers) {
  EXPECT_THAT(Philox::words({0, 0, 0, 0}, 0),
              ::testing::ElementsAre(0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U));
  EXPECT_THAT(Philox::words({~0U, ~0U, ~0U, ~0U}, ~std::uint64_t{0}),
              ::testing::ElementsAre(0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU));
}

TEST(PhiloxTest, UniformIsInTheHalfOpenUnitInterval) {
  EXPECT_EQ(uniform(0), 0.0F);
  EXPECT_EQ(uniform(0xffU), 0.0F);
  EXPECT_EQ(uniform(0x80000000U), 0.5F);
  EXPECT_EQ(uniform(~0U), 1.0F - 0x1p-24F);
}

TEST(PhiloxTest, StreamsAndUsesDiffer) {
  const std::uint32_t word = random_word(1, RandomUse::shuffle, 2, 3);
  EXPECT_EQ(word, random_word(1, RandomUse::shuffle, 2, 3));
  EXPECT_NE(word, random_word(2, RandomUse::shuffle, 2, 3));
  EXPECT_NE(word, random_word(1, RandomUse::decode, 2, 3));
  EXPECT_NE(word, random_word(1, RandomUse::shuffle, 3, 3));
  EXPECT_NE(word, random_word(1, RandomUse::shuffle, 2, 4));
  EXPECT_NE(random_word(1, RandomUse::shuffle, 2, 3),
            random_word(1, RandomUse::shuffle, 2, 3 + (1ULL << 34)));
}

TEST(DropoutMaskTest, DependsOnEveryField) {
  const DropoutMask mask{.probability = 0.1F, .seed = 1, .step = 2, .stream = 3};
  const Philox::Counter words = mask.words(10, 4);
  EXPECT_EQ(words, mask.words(10, 4));
  EXPECT_NE(words, mask.words(11, 4));
  EXPECT_NE(words, mask.words(10, 5));
  EXPECT_NE(words, (DropoutMask{.probability = 0.1F, .seed = 2, .step = 2, .stream = 3}.words(10, 4)));
  EXPECT_NE(words, (DropoutMask{.probability = 0.1F, .seed = 1, .step = 3, .stream = 3}.words(10, 4)));
  EXPECT_NE(words, (DropoutMask{.probability = 0.1F, .seed = 1, .step = 2, .stream = 4}.words(10, 4)));
}

}  // namespace
}  // namespace chorus
