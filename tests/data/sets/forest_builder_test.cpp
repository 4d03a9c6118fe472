#include "data/sets/forest_builder.h"

#include <random>

#include "tests/data/scratch.h"

namespace chorus {
namespace {

constexpr std::int32_t no = unsupervised;

// Supervised from `from` on.
Sequence supervised(std::vector<std::int32_t> tokens, std::size_t from) {
  Sequence sequence{tokens, tokens};
  for (std::size_t i = 0; i < from; ++i) sequence.labels[i] = no;
  return sequence;
}

TEST(ForestBuilder, SharesPrefixesAndDropsLastTargets) {
  ForestBuilder builder;
  builder.add(supervised({1, 5, 6, 7, 9, 2}, 4));  // 1 5 6 7 9 | 2
  builder.add(supervised({1, 5, 8, 9, 2}, 3));     // branches inside the first segment
  builder.add(supervised({1, 5, 8, 4, 2}, 3));     // branches inside the second
  const std::vector<Segment> segments{{0, 5, -1, 0}, {5, 2, 0, 2}, {7, 1, 1, 1}};
  EXPECT_EQ(builder.forest().segments, segments);
  EXPECT_EQ(builder.forest().tokens, 8);
  EXPECT_EQ(std::vector(builder.tokens().begin(), builder.tokens().end()),
            (std::vector<std::int32_t>{1, 5, 6, 7, 9, 8, 9, 4}));
  const std::vector<Target> targets{{3, 9, 0}, {4, 2, 0}, {5, 9, 1}, {6, 2, 1}, {5, 4, 2}, {7, 2, 2}};
  EXPECT_EQ(std::vector(builder.targets().begin(), builder.targets().end()), targets);
  EXPECT_EQ(builder.path_ends()[1], (PathEnd{1, 2}));
  EXPECT_NO_THROW(validate(builder.forest()));
}

TEST(ForestBuilder, IdenticalAndContainedSamplesAddNothing) {
  ForestBuilder builder;
  builder.add(supervised({1, 2, 3, 4}, 2));
  builder.add(supervised({1, 2, 3, 4}, 2));
  builder.add(supervised({1, 2, 9}, 2));  // its last token is only a target
  EXPECT_EQ(builder.forest().segments.size(), 1U);
  EXPECT_EQ(builder.forest().tokens, 3);
  EXPECT_EQ(builder.path_ends()[1], builder.path_ends()[0]);
  EXPECT_EQ(builder.path_ends()[2], (PathEnd{0, 2}));
  EXPECT_EQ(builder.targets().back(), (Target{1, 9, 2}));
}

TEST(ForestBuilder, AnUnsupervisedLastTokenKeepsItsRow) {
  ForestBuilder builder;
  builder.add({{1, 2, 3}, {no, 2, no}});
  EXPECT_EQ(builder.forest().tokens, 3);
}

TEST(ForestBuilder, DifferentFirstTokensAreDifferentRoots) {
  ForestBuilder builder;
  builder.add(supervised({1, 2, 3}, 1));
  builder.add(supervised({4, 2, 3}, 1));
  builder.add(supervised({4, 5, 3}, 1));
  ASSERT_EQ(builder.forest().segments.size(), 3U);
  EXPECT_EQ(builder.forest().segments[1].parent, -1);
  EXPECT_EQ(builder.forest().segments[2].parent, 1);
}

TEST(ForestBuilder, RandomPathsLeadBackToTheSequences) {
  std::mt19937 random(3);
  ForestBuilder builder;
  std::vector<Sequence> sequences;
  std::size_t separate = 0;
  for (int i = 0; i < 200; ++i) {
    std::vector<std::int32_t> tokens;
    const std::size_t length = 2 + random() % 9;
    for (std::size_t t = 0; t < length; ++t) tokens.push_back(static_cast<std::int32_t>(random() % 3));
    sequences.push_back(supervised(tokens, 1 + random() % (length - 1)));
    builder.add(sequences.back());
    separate += length - 1;
  }
  EXPECT_NO_THROW(validate(builder.forest()));
  EXPECT_LT(builder.tokens().size(), separate / 2);
  // No two children of one place begin with the same token, so nothing that could be shared is stored twice.
  const auto& segments = builder.forest().segments;
  for (std::size_t a = 0; a < segments.size(); ++a) {
    const auto first = builder.tokens()[static_cast<std::size_t>(segments[a].first)];
    if (segments[a].parent >= 0) {
      const Segment& parent = segments[static_cast<std::size_t>(segments[a].parent)];
      if (segments[a].branch < parent.length) {
        EXPECT_NE(first, builder.tokens()[static_cast<std::size_t>(parent.first + segments[a].branch)]);
      }
    }
    for (std::size_t b = 0; b < a; ++b) {
      if (segments[a].parent != segments[b].parent || segments[a].branch != segments[b].branch) continue;
      EXPECT_NE(first, builder.tokens()[static_cast<std::size_t>(segments[b].first)]);
    }
  }
}

TEST(Sequence, ValidateNamesTheDefect) {
  const auto message = [](const Sequence& sequence) {
    return message_of<DataError>([&] { validate(sequence, 10, 2, "f:3"); });
  };
  EXPECT_NO_THROW(validate({{1, 2}, {no, 2}}, 10, 0, "f:3"));
  expect_contains(message({{}, {}}), "f:3: a sample without tokens");
  expect_contains(message({{1, 2}, {no}}), "f:3: 2 tokens but 1 labels");
  EXPECT_NO_THROW(validate({{1, feature_token(1), 2}, {no, no, 2}}, 10, 2, "f:3"));
  expect_contains(message({{1, feature_token(2), 2}, {no, no, 2}}), "token -3 at position 1");
  expect_contains(message({{1, feature_token(1)}, {no, feature_token(1)}}),
                  "label -2 at position 1 is neither");
  expect_contains(message({{1, 10}, {no, 10}}),
                  "f:3: token 10 at position 1 is outside the vocabulary of 10");
  expect_contains(message({{1, -5}, {no, -5}}), "token -5 at position 1");
  expect_contains(message({{1, 2}, {no, 3}}),
                  "label 3 at position 1 is neither the token there, 2, nor -100");
  expect_contains(message({{1, 2}, {1, 2}}), "the first token is supervised");
  expect_contains(message({{1, 2}, {no, no}}), "no token is supervised");
}

}  // namespace
}  // namespace chorus
