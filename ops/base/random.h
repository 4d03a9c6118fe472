#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace chorus {

// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): four random words that are a
// pure function of a counter and a key. Nothing here has state, so every value is the same on every rank, layout,
// backend and resumed run.
struct Philox {
  using Counter = std::array<std::uint32_t, 4>;

  static constexpr int rounds = 10;
  // Both words of each round's key.
  using Schedule = std::array<std::array<std::uint32_t, 2>, rounds>;

  static constexpr Schedule schedule(std::uint64_t key) {
    Schedule keys{};
    for (std::uint32_t i = 0; i < rounds; ++i) {
      keys[i][0] = static_cast<std::uint32_t>(key) + i * 0x9E3779B9U;
      keys[i][1] = static_cast<std::uint32_t>(key >> 32) + i * 0xBB67AE85U;
    }
    return keys;
  }
  // For those who draw so much that computing the keys each time would count.
  static constexpr Counter words(Counter counter, const Schedule& keys) {
    for (std::size_t round = 0; round < rounds; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * counter[0];
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57U} * counter[2];
      counter = {
          static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ keys[round][0], static_cast<std::uint32_t>(p1),
          static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ keys[round][1], static_cast<std::uint32_t>(p0)};
    }
    return counter;
  }
  static constexpr Counter words(Counter counter, std::uint64_t key) { return words(counter, schedule(key)); }
};

// Separates the uses of one seed, so that no two draw the same numbers.
enum class RandomUse : std::uint32_t {
  initial_value = 1,
  dropout = 2,
  shuffle = 3,
  sample_corpus = 4,
  decode = 5,
  selection = 6
};

// In [0, 1), from the upper 24 bits: exact in binary32.
constexpr float uniform(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24F; }

// The random word number `index` of stream `stream`.
constexpr std::uint32_t random_word(std::uint64_t seed, RandomUse use, std::uint32_t stream,
                                    std::uint64_t index) {
  const Philox::Counter counter{static_cast<std::uint32_t>(index >> 2),
                                static_cast<std::uint32_t>(index >> 34), stream,
                                static_cast<std::uint32_t>(use)};
  return Philox::words(counter, seed)[index & 3];
}

// Which elements of a LoRA input are dropped: a function of the seed, the step, the layer's projection (`stream`),
// the token's index in the data set and the global feature index. Ranks that hold a slice of the features pass its
// first index.
struct DropoutMask {
  float probability = 0;  // 0 <= probability < 1
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
  std::uint32_t stream = 0;
  std::int64_t first_feature = 0;

  // How many features one draw decides on: each has 16 of its 128 bits.
  static constexpr int features_per_draw = 8;

  // A feature is dropped where its 16 bits are below this: the nearest multiple of 2^-16 to the probability, and 0 where
  // nothing is dropped. Less than 1, so that the scale is finite.
  constexpr std::uint32_t threshold() const {
    return std::min(static_cast<std::uint32_t>(probability * 0x1p16F + 0.5F), 0xffffU);
  }
  // What survivors are multiplied by. Of the probability as drawn, so that the mean stays.
  constexpr float scale() const { return 0x1p16F / static_cast<float>(0x10000U - threshold()); }

  // The words that decide on features 8*block .. 8*block+7 of a token are those of this counter.
  constexpr Philox::Counter counter(std::int64_t token_id, std::int64_t block) const {
    return {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(token_id), step,
            (static_cast<std::uint32_t>(RandomUse::dropout) << 24) ^ stream};
  }
  constexpr Philox::Counter words(std::int64_t token_id, std::int64_t block) const {
    return Philox::words(counter(token_id, block), seed);
  }
  // The 16 bits of the i-th of those features: of each word first the lower ones.
  static constexpr std::uint32_t bits(const Philox::Counter& words, int i) {
    return words[static_cast<std::size_t>(i / 2)] >> (16 * (i % 2)) & 0xffffU;
  }
};

}  // namespace chorus
