#pragma once

#include <algorithm>
#include <cstdint>

#include "ops/base/forest.h"
#include "ops/cpu/small_matmul.h"

namespace chorus {

// What the forward and the backward pass of attention share: the walk over a tree in blocks of query_block x
// key_block, and the copies in f32 whose layouts let every product run over whole vectors.

inline constexpr std::int64_t query_block = 32;
inline constexpr std::int64_t key_block = 64;

// One head of a [N, H, K] tensor.
template <typename T>
struct HeadView {
  T* data;                    // of token 0
  std::int64_t token_stride;  // H · K
  std::int64_t width;         // K

  T* token(std::int64_t n) const { return data + n * token_stride; }
};
template <typename T>
HeadView<T> head(T* data, std::int64_t heads, std::int64_t index, std::int64_t width) {
  return {data + index * width, heads * width, width};
}

// Panels of lane_count keys: element (feature d, key j) at panels[(j / 16 · K + d) · 16 + j % 16]. This is kᵀ
// as the right factor of q kᵀ.
template <typename T>
void pack_panels(float* panels, HeadView<const T> x, const Segment& segment) {
  for (std::int64_t begin = 0; begin < segment.length; begin += lane_count) {
    float* panel = panels + begin * x.width;
    const std::int64_t count = std::min<std::int64_t>(lane_count, segment.length - begin);
    for (std::int64_t j = 0; j < count; ++j) {
      const T* from = x.token(segment.first + begin + j);
      for (std::int64_t d = 0; d < x.width; ++d) panel[d * lane_count + j] = static_cast<float>(from[d]);
    }
    for (std::int64_t j = count; j < lane_count; ++j) {
      for (std::int64_t d = 0; d < x.width; ++d) panel[d * lane_count + j] = 0;
    }
  }
}

// Rows of whole_lanes(K) floats times `scale`, zeros beside and below; `padded` rows are written.
template <typename T>
void pack_rows(float* rows, HeadView<const T> x, std::int64_t first, std::int64_t count, std::int64_t padded,
               float scale) {
  const std::int64_t stride = whole_lanes(x.width);
  for (std::int64_t j = 0; j < count; ++j) {
    const T* from = x.token(first + j);
    float* to = rows + j * stride;
#pragma omp simd
    for (std::int64_t d = 0; d < x.width; ++d) to[d] = static_cast<float>(from[d]) * scale;
    std::fill(to + x.width, to + stride, 0.0F);
  }
  std::fill(rows + count * stride, rows + padded * stride, 0.0F);
}

// A block of queries of one segment, and a block of keys that they may see.
struct QueryBlock {
  std::int64_t first;       // in the flat array
  std::int64_t in_segment;  // the same, counted from the segment's first token
  std::int64_t count;
  std::int64_t rows() const { return whole_rows(count); }
};
struct KeyBlock {
  std::int64_t packed;  // the first key's place in the tree's packed arrays, a multiple of lane_count
  std::int64_t count;
  // Query r of the block sees the first min(count, diagonal + r) keys; keys of ancestors are all seen.
  std::int64_t diagonal;
  std::int64_t columns() const { return whole_lanes(count); }
  std::int64_t visible(std::int64_t query) const {
    return std::clamp<std::int64_t>(diagonal + query, 0, count);
  }
};

template <typename Visit>
void for_each_query_block(const Segment& segment, const Visit& visit) {
  for (std::int64_t begin = 0; begin < segment.length; begin += query_block) {
    visit(QueryBlock{segment.first + begin, begin, std::min(query_block, segment.length - begin)});
  }
}

// Ancestors first, the nearest before the others, so that from the first block on every query has seen a key:
// a segment's own first block holds its first key. `offset_of` gives a segment's place in the packed arrays.
template <typename OffsetOf, typename Visit>
void for_each_key_block(const Forest& forest, std::int32_t index, const QueryBlock& queries,
                        const OffsetOf& offset_of, const Visit& visit) {
  std::int32_t segment = index;
  while (forest.segments[static_cast<std::size_t>(segment)].parent >= 0) {
    const Segment& child = forest.segments[static_cast<std::size_t>(segment)];
    const std::int64_t offset = offset_of(child.parent);
    for (std::int64_t begin = 0; begin < child.branch; begin += key_block) {
      const std::int64_t count = std::min(key_block, child.branch - begin);
      visit(KeyBlock{offset + begin, count, count});
    }
    segment = child.parent;
  }
  const std::int64_t end = queries.in_segment + queries.count;
  for (std::int64_t begin = 0; begin < end; begin += key_block) {
    const std::int64_t count = std::min(key_block, end - begin);
    visit(KeyBlock{offset_of(index) + begin, count, queries.in_segment + 1 - begin});
  }
}

}  // namespace chorus
