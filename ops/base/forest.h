#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace chorus {

// A run of tokens in the flat array of a micro-batch. It attends causally to itself and to the first `branch`
// tokens of its parent, and through these to what they see.
struct Segment {
  std::int32_t first = 0;    // index of the first token in the flat array
  std::int32_t length = 0;   // > 0
  std::int32_t parent = -1;  // index of an earlier segment; -1: a root
  std::int32_t branch = 0;   // 0 < branch <= length of the parent; 0 for a root
  bool operator==(const Segment&) const = default;
};

// All that attends in one micro-batch: packed sequences are many roots, shared prefixes are trees.
// The segments cover the flat array without gaps, in order; a parent stands before its children.
struct Forest {
  std::vector<Segment> segments;
  std::int32_t tokens = 0;  // N, the sum of the lengths

  // A half-open range of the flat array, all of which a segment sees.
  struct Range {
    std::int32_t begin, end;
    bool operator==(const Range&) const = default;
  };
  // What segment `index` sees of its ancestors, from the root down. Its own tokens are not included.
  std::vector<Range> ancestor_ranges(std::int32_t index) const;
  // Number of tokens before the first of each segment on its path from the root.
  std::vector<std::int32_t> segment_depths() const;
  // [N] rotary position of every token: its depth in its tree.
  std::vector<std::int32_t> positions() const;
  // Index of the tree (root) of each segment, counted from 0 in order of appearance.
  std::vector<std::int32_t> trees() const;
  // Sum over all tokens of the number of tokens each one sees, itself included.
  std::int64_t attended_pairs() const;
};

// Throws Error where the description above does not hold.
void validate(const Forest& forest);

// A forest of one root of the given length.
Forest single_sequence(std::int32_t length);

}  // namespace chorus
