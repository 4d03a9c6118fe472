#include "ops/base/forest.h"

#include <algorithm>

#include "ops/base/error.h"
#include "ops/base/index.h"

namespace chorus {

std::vector<Forest::Range> Forest::ancestor_ranges(std::int32_t index) const {
  std::vector<Range> ranges;
  const Segment* segment = &segments[at(index)];
  while (segment->parent >= 0) {
    const Segment& parent = segments[at(segment->parent)];
    ranges.push_back({parent.first, parent.first + segment->branch});
    segment = &parent;
  }
  std::reverse(ranges.begin(), ranges.end());
  return ranges;
}

std::vector<std::int32_t> Forest::segment_depths() const {
  std::vector<std::int32_t> depths(segments.size());
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& s = segments[i];
    depths[i] = s.parent < 0 ? 0 : depths[at(s.parent)] + s.branch;
  }
  return depths;
}

std::vector<std::int32_t> Forest::positions() const {
  std::vector<std::int32_t> positions(at(tokens));
  const std::vector<std::int32_t> depths = segment_depths();
  for (std::size_t i = 0; i < segments.size(); ++i) {
    for (std::int32_t t = 0; t < segments[i].length; ++t)
      positions[at(segments[i].first + t)] = depths[i] + t;
  }
  return positions;
}

std::vector<std::int32_t> Forest::trees() const {
  std::vector<std::int32_t> trees(segments.size());
  std::int32_t next = 0;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    trees[i] = segments[i].parent < 0 ? next++ : trees[at(segments[i].parent)];
  }
  return trees;
}

std::int64_t Forest::attended_pairs() const {
  const std::vector<std::int32_t> depths = segment_depths();
  std::int64_t pairs = 0;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const std::int64_t length = segments[i].length;
    pairs += length * depths[i] + length * (length + 1) / 2;
  }
  return pairs;
}

void validate(const Forest& forest) {
  std::int32_t next = 0;
  for (std::size_t i = 0; i < forest.segments.size(); ++i) {
    const Segment& s = forest.segments[i];
    require(0 < s.length && s.length <= forest.tokens - next, "segment ", i, " has length ", s.length, " of ",
            forest.tokens - next, " tokens that are left");
    require(s.first == next, "segment ", i, " begins at ", s.first, " instead of ", next);
    next += s.length;
    if (s.parent == -1) {
      require(s.branch == 0, "root segment ", i, " has branch ", s.branch);
      continue;
    }
    require(s.parent >= 0 && s.parent < static_cast<std::int32_t>(i), "segment ", i, " has parent ",
            s.parent);
    const Segment& parent = forest.segments[at(s.parent)];
    require(s.branch > 0 && s.branch <= parent.length, "segment ", i, " branches at ", s.branch,
            " of a parent of length ", parent.length);
  }
  require(next == forest.tokens, "segments cover ", next, " of ", forest.tokens, " tokens");
}

Forest single_sequence(std::int32_t length) { return {{{0, length, -1, 0}}, length}; }

}  // namespace chorus
