#pragma once

#include <cstdint>
#include <vector>

#include "ops/base/forest.h"

namespace chorus {

using Ranges = std::vector<Forest::Range>;
// The same tokens in ascending ranges with gaps between them.
Ranges joined(Ranges ranges);

// The forest from its roots down. On a path from a root, whatever it passes, each token sees the beginning: what its own path
// has in common with it.
class ForestPaths {
 public:
  // Tokens begin .. end - 1 of a segment.
  struct Part {
    std::int32_t segment, begin, end;
  };
  // The queries begin .. end - 1 of the flat array: the first sees `from` keys, each one behind it a key more, up to `to`.
  struct Sight {
    std::int32_t begin, end, from, to;
  };

  explicit ForestPaths(const Forest& forest);  // must outlive this

  // Paths that together hold every token once. Where several ways go on, a path takes the one with the most tokens, and
  // others begin there. In the order of their first tokens.
  std::vector<std::vector<Part>> all() const;
  // Who sees how much of a piece of a path, in ascending order.
  std::vector<Sight> seen_by(const std::vector<Part>& piece) const;

 private:
  std::int32_t branch(std::int32_t segment) const;
  std::int32_t size(std::int32_t segment) const;
  std::int32_t leave(Part& part, std::vector<Part>& begins) const;

  const Forest& forest_;
  std::vector<std::vector<std::int32_t>> children_;  // of each segment, by their branch
  std::vector<Ranges> tokens_;                       // of each segment and its descendants
};

}  // namespace chorus
