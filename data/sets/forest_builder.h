#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/sets/batch.h"
#include "ops/base/forest.h"

namespace chorus {

// The label of a token that is not to be learned.
inline constexpr std::int32_t unsupervised = -100;

// One prompt with its answer, as a model without trees would see it. labels[i] is tokens[i] or
// `unsupervised`; it is predicted from position i - 1, so labels[0] is always unsupervised.
struct Sequence {
  std::vector<std::int32_t> tokens;  // [length]
  std::vector<std::int32_t> labels;  // [length]
  bool operator==(const Sequence&) const = default;
};

// Rows that it takes alone: a last token that is supervised needs none, see ForestBuilder.
std::int64_t rows_of(const Sequence& sequence);

// Throws DataError, beginning with `where`, unless the lengths agree, every token is a word (0 <= token <
// vocabulary_size) or a feature of a row below `feature_rows`, every label is its token, a word, or `unsupervised`, the
// first is unsupervised and at least one is not.
void validate(const Sequence& sequence, std::int64_t vocabulary_size, std::int64_t feature_rows,
              const std::string& where);

// Where a sample ends in a forest: it is the path from a root to token `length - 1` of `segment`.
struct PathEnd {
  std::int32_t segment = 0;
  std::int32_t length = 0;
  bool operator==(const PathEnd&) const = default;
};

// Merges the sequences of one group into a compressed trie. A sequence follows what is there as far as it
// agrees and adds one segment for the rest; a segment is never split, since a branch may leave its parent
// anywhere. Sequences that differ in their first token stand under different roots.
//
// A last token that is supervised gets no row, because nothing is predicted from it: it exists only as a
// target.
class ForestBuilder {
 public:
  // Adds a sequence that validate() accepts, as sample number path_ends().size().
  void add(const Sequence& sequence);

  const Forest& forest() const { return forest_; }
  std::span<const std::int32_t> tokens() const { return tokens_; }  // [N]
  // In order of the samples, within a sample rows descend the path. Target::sample counts from 0.
  std::span<const Target> targets() const { return targets_; }
  std::span<const PathEnd> path_ends() const { return path_ends_; }  // [samples]

 private:
  // Follows `path` as far as the forest agrees; appends a row per token to `rows`. Returns where it stopped.
  PathEnd follow(std::span<const std::int32_t> path, std::vector<std::int32_t>& rows) const;
  // The child of `end.segment` that branches after `end.length` tokens and begins with `token`, or -1. A
  // `segment` of -1 asks for roots.
  std::int32_t child(PathEnd end, std::int32_t token) const;
  PathEnd grow(PathEnd end, std::span<const std::int32_t> rest, std::vector<std::int32_t>& rows);

  Forest forest_;
  std::vector<std::int32_t> tokens_;
  std::vector<Target> targets_;
  std::vector<PathEnd> path_ends_;
  std::vector<std::vector<std::int32_t>> children_{
      1};  // of segment i at index i + 1; of none, the roots, at 0
};

}  // namespace chorus
