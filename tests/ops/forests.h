#pragma once

#include <string>
#include <vector>

#include "ops/base/forest.h"

namespace chorus {

struct NamedForest {
  std::string name;
  Forest forest;
};

// Puts the segments one after another: {length, parent, branch}.
struct Piece {
  std::int32_t length, parent, branch;
};
inline Forest forest_of(const std::vector<Piece>& pieces) {
  Forest forest;
  for (const Piece& p : pieces) {
    forest.segments.push_back({forest.tokens, p.length, p.parent, p.branch});
    forest.tokens += p.length;
  }
  validate(forest);
  return forest;
}

// Lengths around the blocks of queries (32) and keys (64), and all that a tree may look like.
inline std::vector<NamedForest> example_forests() {
  return {
      {"one token", single_sequence(1)},
      {"seven tokens", single_sequence(7)},
      {"a block less one", single_sequence(63)},
      {"a block", single_sequence(64)},
      {"a block and one", single_sequence(65)},
      {"three blocks", single_sequence(161)},
      {"packed sequences", forest_of({{5, -1, 0}, {33, -1, 0}, {1, -1, 0}, {64, -1, 0}, {17, -1, 0}})},
      {"branches along a trunk", forest_of({{70, -1, 0}, {9, 0, 1}, {16, 0, 32}, {40, 0, 65}, {3, 0, 70}})},
      {"grandparents", forest_of({{40, -1, 0}, {70, 0, 25}, {10, 1, 66}, {1, 2, 3}, {35, 3, 1}, {4, 1, 64}})},
      {"two trees", forest_of({{20, -1, 0}, {8, 0, 20}, {8, 0, 7}, {66, -1, 0}, {34, 3, 65}})},
      {"woven trees", forest_of({{20, -1, 0}, {30, -1, 0}, {8, 0, 13}, {9, 1, 30}, {5, 2, 8}, {12, 0, 20}})},
  };
}

// At most 128 tokens, branches of branches, tiles of 64 on both sides of every edge.
inline std::vector<NamedForest> deep_forests() {
  return {
      {"branches at the tile's edges",
       forest_of({{66, -1, 0}, {12, 0, 65}, {9, 0, 64}, {7, 0, 63}, {5, 1, 12}})},
      {"three levels", forest_of({{9, -1, 0}, {65, 0, 4}, {7, 1, 65}, {3, 2, 1}, {2, 1, 64}, {1, 3, 3}})},
      {"trees side by side", forest_of({{5, -1, 0}, {67, -1, 0}, {3, 0, 5}, {30, 1, 66}, {2, 3, 30}})},
      {"a sequence behind another's last tile", forest_of({{97, -1, 0}, {30, -1, 0}})},
      {"a dialogue",
       forest_of({{25, -1, 0}, {20, 0, 21}, {19, 1, 15}, {24, 2, 16}, {18, 3, 20}, {17, 4, 14}})},
  };
}

}  // namespace chorus
