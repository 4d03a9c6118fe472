#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/cpu/attention_blocks.h"
#include "ops/cpu/attention_layout.h"
#include "ops/cpu/cpu_backend.h"
#include "ops/cpu/exponential.h"
#include "ops/cpu/parallel_for.h"
#include "ops/cpu/visit_float.h"

namespace chorus {

namespace {

// Working memory for one key head of one tree.
struct ForwardMemory {
  float* keys;     // [packed keys / 16, K, 16]
  float* values;   // [packed keys, K']         K' = whole_lanes(K)
  float* queries;  // [query_block, K']         times 1 / √K
  float* scores;   // [query_block, key_block]
  float* out;      // [query_block, K']         not yet divided by `sum`
  float* largest;  // [query_block]             of the scores seen so far
  // [query_block, 16]  of exp(score - largest), one for every 16th key: adding up the lanes of a vector in
  // each block would take as long as the exponentials.
  float* sums;

  ForwardMemory(ScratchCutter cutter, std::int64_t packed, std::int64_t width) {
    const std::int64_t padded = whole_lanes(width);
    keys = cutter.take(packed * width);
    values = cutter.take(packed * padded);
    queries = cutter.take(query_block * padded);
    scores = cutter.take(query_block * key_block);
    out = cutter.take(query_block * padded);
    largest = cutter.take(query_block);
    sums = cutter.take(query_block * lane_count);
    floats = cutter.used();
  }
  std::int64_t floats;
};

// Scores of one query against `columns` keys of which it sees the first `visible`, turned into exp(score -
// largest); what was summed before is brought to the new largest score.
void soften(float* scores, std::int64_t visible, std::int64_t columns, float& largest, float* sums,
            float* out, std::int64_t width) {
  std::fill(scores + visible, scores + columns, minus_infinity);
  float highest = largest;
#pragma omp simd reduction(max : highest)
  for (std::int64_t c = 0; c < columns; ++c) highest = scores[c] > highest ? scores[c] : highest;
  if (highest > largest) {
    const float shrink = exponential(largest - highest);
    largest = highest;
    for (std::int64_t lane = 0; lane < lane_count; ++lane) sums[lane] *= shrink;
#pragma omp simd
    for (std::int64_t d = 0; d < width; ++d) out[d] *= shrink;
  }
  for (std::int64_t c = 0; c < columns; c += lane_count) {
#pragma omp simd
    for (std::int64_t lane = 0; lane < lane_count; ++lane) {
      scores[c + lane] = exponential(scores[c + lane] - highest);
      sums[lane] += scores[c + lane];
    }
  }
}

template <typename T>
struct ForwardHead {
  HeadView<T> out;
  HeadView<const T> q;
  float* lse;  // of token 0
  std::int64_t lse_stride;
};

template <typename T>
void attend(const ForwardHead<T>& head, const ForwardMemory& memory, const Forest& forest,
            std::int32_t segment, const QueryBlock& queries, const auto& offset_of) {
  const std::int64_t width = head.q.width, padded = whole_lanes(width), rows = queries.rows();
  const float scale = 1.0F / std::sqrt(static_cast<float>(width));
  pack_rows(memory.queries, head.q, queries.first, queries.count, rows, scale);
  std::fill_n(memory.out, rows * padded, 0.0F);
  std::fill_n(memory.largest, rows, minus_infinity);
  std::fill_n(memory.sums, rows * lane_count, 0.0F);
  for_each_key_block(forest, segment, queries, offset_of, [&](const KeyBlock& keys) {
    multiply(memory.scores, key_block, {memory.queries, padded, 1},
             {memory.keys + keys.packed * width, lane_count, width * lane_count}, rows, width, keys.columns(),
             false);
    for (std::int64_t r = 0; r < rows; ++r) {
      soften(memory.scores + r * key_block, keys.visible(r), keys.columns(), memory.largest[r],
             memory.sums + r * lane_count, memory.out + r * padded, padded);
    }
    multiply(memory.out, padded, {memory.scores, key_block, 1},
             {memory.values + keys.packed * padded, padded, lane_count}, rows, keys.count, padded, true);
  });
  for (std::int64_t r = 0; r < queries.count; ++r) {
    const std::int64_t token = queries.first + r;
    const float sum = std::accumulate(memory.sums + r * lane_count, memory.sums + (r + 1) * lane_count, 0.0F);
    const float inverse = 1.0F / sum;
    const float* from = memory.out + r * padded;
    T* to = head.out.token(token);
#pragma omp simd
    for (std::int64_t d = 0; d < width; ++d) store(to[d], from[d] * inverse);
    head.lse[token * head.lse_stride] = memory.largest[r] + std::log(sum);
  }
}

}  // namespace

void CpuBackend::attention(Tensor out, Tensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                           const Forest& forest) {
  const std::int64_t heads = q.dim(1), key_heads = k.dim(1), width = q.dim(2), group = heads / key_heads;
  AttentionLayout& layout = *attention_layout_;
  layout.build(forest);
  const std::int64_t floats = ForwardMemory(ScratchCutter(), layout.longest(), width).floats;
  reserve_scratch(floats * static_cast<std::int64_t>(sizeof(float)));
  const auto offset_of = [&](std::int32_t segment) { return layout.offset(segment); };
  visit_float(q.dtype(), [&]<typename T>(T) {
    const auto one_key_head = [&](std::int64_t task, int worker) {
      const std::int64_t tree = task / key_heads, key_head = task % key_heads;
      const std::int64_t packed = layout.packed_length(tree);
      float* const scratch = scratch_[static_cast<std::size_t>(worker)].floats(floats);
      const ForwardMemory memory(ScratchCutter(scratch), packed, width);
      const auto keys = head(k.data<T>(), key_heads, key_head, width);
      const auto values = head(v.data<T>(), key_heads, key_head, width);
      for (const std::int32_t index : layout.segments(tree)) {
        const Segment& segment = forest.segments[static_cast<std::size_t>(index)];
        const std::int64_t offset = layout.offset(index);
        pack_panels(memory.keys + offset * width, keys, segment);
        pack_rows(memory.values + offset * whole_lanes(width), values, segment.first, segment.length,
                  whole_lanes(segment.length), 1.0F);
      }
      for (const std::int32_t index : layout.segments(tree)) {
        for (std::int64_t h = key_head * group; h < (key_head + 1) * group; ++h) {
          const ForwardHead<T> one{head(out.data<T>(), heads, h, width), head(q.data<T>(), heads, h, width),
                                   lse.data<float>() + h, heads};
          for_each_query_block(
              forest.segments[static_cast<std::size_t>(index)],
              [&](const QueryBlock& queries) { attend(one, memory, forest, index, queries, offset_of); });
        }
      }
    };
    parallel_tasks(threads_, layout.trees() * key_heads, one_key_head);
  });
}

}  // namespace chorus
