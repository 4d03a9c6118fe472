#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "ops/base/forest.h"
#include "ops/cpu/small_matmul.h"

namespace chorus {

// The segments of a forest grouped by tree. The keys of a tree are packed one segment after another, each
// beginning at a multiple of lane_count, so that every range that a query sees begins at a whole vector. Kept
// between calls so that nothing is allocated.
class AttentionLayout {
 public:
  void build(const Forest& forest) {
    const std::size_t count = forest.segments.size();
    tree_.assign(count, 0);
    offset_.assign(count, 0);
    lengths_.clear();
    begins_.clear();
    for (std::size_t i = 0; i < count; ++i) {
      const Segment& segment = forest.segments[i];
      const bool root = segment.parent < 0;
      if (root) lengths_.push_back(0);
      tree_[i] = root ? static_cast<std::int32_t>(lengths_.size() - 1) : tree_[at(segment.parent)];
      std::int64_t& length = lengths_[at(tree_[i])];
      offset_[i] = length;
      length += whole_lanes(segment.length);
    }
    begins_.assign(lengths_.size() + 1, 0);
    for (const std::int32_t tree : tree_) ++begins_[at(tree) + 1];
    for (std::size_t t = 0; t < lengths_.size(); ++t) begins_[t + 1] += begins_[t];
    next_.assign(begins_.begin(), begins_.end());
    segments_.assign(count, 0);
    for (std::size_t i = 0; i < count; ++i) segments_[next_[at(tree_[i])]++] = static_cast<std::int32_t>(i);
  }

  std::int64_t trees() const { return static_cast<std::int64_t>(lengths_.size()); }
  // The segments of a tree, parents first.
  std::span<const std::int32_t> segments(std::int64_t tree) const {
    const auto t = static_cast<std::size_t>(tree);
    return {segments_.data() + begins_[t], begins_[t + 1] - begins_[t]};
  }
  // Packed keys of a tree, padding included.
  std::int64_t packed_length(std::int64_t tree) const { return lengths_[static_cast<std::size_t>(tree)]; }
  std::int64_t longest() const {
    return lengths_.empty() ? 0 : *std::max_element(lengths_.begin(), lengths_.end());
  }
  // Where a segment's keys begin among the packed ones of its tree.
  std::int64_t offset(std::int32_t segment) const { return offset_[at(segment)]; }

 private:
  static std::size_t at(std::int32_t index) { return static_cast<std::size_t>(index); }

  std::vector<std::int32_t> tree_, segments_;
  std::vector<std::int64_t> offset_, lengths_;
  std::vector<std::size_t> begins_, next_;
};

}  // namespace chorus
