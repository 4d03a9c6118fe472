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

TEST(DropoutMaskTest, EightFeaturesShareADraw) {
  const Philox::Counter words{0x00010000U, 0x00030002U, 0x00050004U, 0xffff0006U};
  for (int i = 0; i < 7; ++i) EXPECT_EQ(DropoutMask::bits(words, i), static_cast<std::uint32_t>(i));
  EXPECT_EQ(DropoutMask::bits(words, 7), 0xffffU);
}

// What survives is scaled by exactly what is drawn: scale · (1 - threshold / 65536) = 1.
TEST(DropoutMaskTest, TheProbabilityIsRoundedAndTheMeanStays) {
  const auto mask = [](float probability) { return DropoutMask{.probability = probability}; };
  EXPECT_EQ(mask(0.25F).threshold(), 16384U);
  EXPECT_EQ(mask(0.5F).scale(), 2.0F);
  EXPECT_EQ(mask(0.05F).threshold(), 3277U);
  EXPECT_FLOAT_EQ(mask(0.05F).scale(), 65536.0F / 62259.0F);
  for (const float none : {0.0F, 1e-30F, 0x1p-18F}) {
    EXPECT_EQ(mask(none).threshold(), 0U) << none;
    EXPECT_EQ(mask(none).scale(), 1.0F) << none;
  }
  EXPECT_EQ(mask(0x1p-16F).threshold(), 1U);
  EXPECT_EQ(mask(1.0F - 0x1p-24F).threshold(), 65535U);
  EXPECT_EQ(mask(1.0F - 0x1p-24F).scale(), 65536.0F);
}

}  // namespace
}  // namespace chorus
