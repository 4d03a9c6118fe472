#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/cpu/attention_blocks.h"
#include "ops/cpu/attention_layout.h"
#include "ops/cpu/cpu_backend.h"
#include "ops/cpu/exponential.h"
#include "ops/cpu/parallel_for.h"
#include "ops/cpu/visit_float.h"

namespace chorus {

namespace {

// Working memory for one key head of one tree. K' = whole_lanes(K).
struct BackwardMemory {
  float* key_panels;    // [packed keys / 16, K, 16]
  float* value_panels;  // [packed keys / 16, K, 16]
  float* keys;          // [packed keys, K']
  float* dk;            // [packed keys, K']
  float* dv;            // [packed keys, K']
  float* queries;       // [query_block, K']    times 1 / √K
  float* dout;          // [query_block, K']
  float* dq;            // [query_block, K']
  float* p;             // [query_block, key_block]    attention probabilities
  float* ds;            // [query_block, key_block]    gradient of the scores
  float* lse;           // [query_block]
  float* delta;         // [query_block]        sum of dout · out

  BackwardMemory(ScratchCutter cutter, std::int64_t packed, std::int64_t width) {
    const std::int64_t padded = whole_lanes(width);
    key_panels = cutter.take(packed * width);
    value_panels = cutter.take(packed * width);
    keys = cutter.take(packed * padded);
    dk = cutter.take(packed * padded);
    dv = cutter.take(packed * padded);
    queries = cutter.take(query_block * padded);
    dout = cutter.take(query_block * padded);
    dq = cutter.take(query_block * padded);
    p = cutter.take(query_block * key_block);
    ds = cutter.take(query_block * key_block);
    lse = cutter.take(query_block);
    delta = cutter.take(query_block);
    floats = cutter.used();
  }
  std::int64_t floats;
};

template <typename T>
struct BackwardHead {
  HeadView<T> dq;
  HeadView<const T> q, out, dout;
  const float* lse;  // of token 0
  std::int64_t lse_stride;
};

// Rows beyond the last query keep dout = 0, delta = 0 and a finite lse, so that they add nothing.
template <typename T>
void load_queries(const BackwardHead<T>& head, const BackwardMemory& memory, const QueryBlock& queries,
                  float scale) {
  const std::int64_t rows = queries.rows(), width = head.q.width;
  pack_rows(memory.queries, head.q, queries.first, queries.count, rows, scale);
  pack_rows(memory.dout, head.dout, queries.first, queries.count, rows, 1.0F);
  std::fill_n(memory.dq, rows * whole_lanes(width), 0.0F);
  std::fill_n(memory.lse, rows, 0.0F);
  std::fill_n(memory.delta, rows, 0.0F);
  for (std::int64_t r = 0; r < queries.count; ++r) {
    const T* out = head.out.token(queries.first + r);
    const T* dout = head.dout.token(queries.first + r);
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t d = 0; d < width; ++d) sum += static_cast<float>(out[d]) * static_cast<float>(dout[d]);
    memory.delta[r] = sum;
    memory.lse[r] = head.lse[(queries.first + r) * head.lse_stride];
  }
}

// p holds scores and ds the gradients of the probabilities; they become probabilities and gradients of the
// scores.
void scores_backward(const BackwardMemory& memory, const QueryBlock& queries, const KeyBlock& keys) {
  for (std::int64_t r = 0; r < queries.rows(); ++r) {
    float* p = memory.p + r * key_block;
    float* ds = memory.ds + r * key_block;
    const std::int64_t visible = keys.visible(r), columns = keys.columns();
    const float lse = memory.lse[r], delta = memory.delta[r];
    std::fill(p + visible, p + columns, -std::numeric_limits<float>::infinity());
#pragma omp simd
    for (std::int64_t c = 0; c < columns; ++c) {
      p[c] = exponential(p[c] - lse);
      ds[c] = p[c] * (ds[c] - delta);
    }
  }
}

template <typename T>
void attend_backward(const BackwardHead<T>& head, const BackwardMemory& memory, const Forest& forest,
                     std::int32_t segment, const QueryBlock& queries, const auto& offset_of) {
  const std::int64_t width = head.q.width, padded = whole_lanes(width), rows = queries.rows();
  const float scale = 1.0F / std::sqrt(static_cast<float>(width));
  load_queries(head, memory, queries, scale);
  const LaneMatrix query_rows{memory.queries, padded, lane_count}, dout_rows{memory.dout, padded, lane_count};
  for_each_key_block(forest, segment, queries, offset_of, [&](const KeyBlock& keys) {
    const std::int64_t columns = keys.columns();
    const auto panels = [&](const float* x) {
      return LaneMatrix{x + keys.packed * width, lane_count, width * lane_count};
    };
    multiply(memory.p, key_block, {memory.queries, padded, 1}, panels(memory.key_panels), rows, width,
             columns, false);
    multiply(memory.ds, key_block, {memory.dout, padded, 1}, panels(memory.value_panels), rows, width,
             columns, false);
    scores_backward(memory, queries, keys);
    multiply(memory.dv + keys.packed * padded, padded, {memory.p, 1, key_block}, dout_rows, columns, rows,
             padded, true);
    multiply(memory.dk + keys.packed * padded, padded, {memory.ds, 1, key_block}, query_rows, columns, rows,
             padded, true);
    multiply(memory.dq, padded, {memory.ds, key_block, 1},
             {memory.keys + keys.packed * padded, padded, lane_count}, rows, keys.count, padded, true);
  });
  for (std::int64_t r = 0; r < queries.count; ++r) {
    T* to = head.dq.token(queries.first + r);
    const float* from = memory.dq + r * padded;
#pragma omp simd
    for (std::int64_t d = 0; d < width; ++d) store(to[d], from[d] * scale);
  }
}

template <typename T>
void pack_segment(const BackwardMemory& memory, HeadView<const T> keys, HeadView<const T> values,
                  const Segment& segment, std::int64_t offset) {
  const std::int64_t padded = whole_lanes(keys.width), rows = whole_lanes(segment.length);
  pack_panels(memory.key_panels + offset * keys.width, keys, segment);
  pack_panels(memory.value_panels + offset * keys.width, values, segment);
  pack_rows(memory.keys + offset * padded, keys, segment.first, segment.length, rows, 1.0F);
  std::fill_n(memory.dk + offset * padded, rows * padded, 0.0F);
  std::fill_n(memory.dv + offset * padded, rows * padded, 0.0F);
}

template <typename T>
void store_rows(HeadView<T> out, const float* rows, const Segment& segment) {
  const std::int64_t stride = whole_lanes(out.width);
  for (std::int64_t j = 0; j < segment.length; ++j) {
    T* to = out.token(segment.first + j);
    const float* from = rows + j * stride;
#pragma omp simd
    for (std::int64_t d = 0; d < out.width; ++d) store(to[d], from[d]);
  }
}

}  // namespace

// One task computes all that a key head of a tree takes part in, query block after query block, so that the
// sums that make up dk and dv have a fixed order.
void CpuBackend::attention_backward(Tensor dq, Tensor dk, Tensor dv, ConstTensor dout, ConstTensor out,
                                    ConstTensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                                    const Forest& forest) {
  const std::int64_t heads = q.dim(1), key_heads = k.dim(1), width = q.dim(2), group = heads / key_heads;
  AttentionLayout& layout = *attention_layout_;
  layout.build(forest);
  const std::int64_t floats = BackwardMemory(ScratchCutter(), layout.longest(), width).floats;
  reserve_scratch(floats * static_cast<std::int64_t>(sizeof(float)));
  const auto offset_of = [&](std::int32_t segment) { return layout.offset(segment); };
  const auto segment_of = [&](std::int32_t index) {
    return forest.segments[static_cast<std::size_t>(index)];
  };
  visit_float(q.dtype(), [&]<typename T>(T) {
    const auto one_key_head = [&](std::int64_t task, int worker) {
      const std::int64_t tree = task / key_heads, key_head = task % key_heads;
      float* const scratch = scratch_[static_cast<std::size_t>(worker)].floats(floats);
      const BackwardMemory memory(ScratchCutter(scratch), layout.packed_length(tree), width);
      const auto of_key_head = [&](auto* data) { return head(data, key_heads, key_head, width); };
      for (const std::int32_t index : layout.segments(tree)) {
        pack_segment(memory, of_key_head(k.data<T>()), of_key_head(v.data<T>()), segment_of(index),
                     layout.offset(index));
      }
      for (const std::int32_t index : layout.segments(tree)) {
        for (std::int64_t h = key_head * group; h < (key_head + 1) * group; ++h) {
          const auto of_head = [&](auto* data) { return head(data, heads, h, width); };
          const BackwardHead<T> one{of_head(dq.data<T>()),   of_head(q.data<T>()),  of_head(out.data<T>()),
                                    of_head(dout.data<T>()), lse.data<float>() + h, heads};
          for_each_query_block(segment_of(index), [&](const QueryBlock& queries) {
            attend_backward(one, memory, forest, index, queries, offset_of);
          });
        }
      }
      for (const std::int32_t index : layout.segments(tree)) {
        const std::int64_t offset = layout.offset(index) * whole_lanes(width);
        store_rows(of_key_head(dk.data<T>()), memory.dk + offset, segment_of(index));
        store_rows(of_key_head(dv.data<T>()), memory.dv + offset, segment_of(index));
      }
    };
    parallel_tasks(threads_, layout.trees() * key_heads, one_key_head);
  });
}

}  // namespace chorus
