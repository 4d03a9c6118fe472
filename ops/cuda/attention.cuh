#pragma once

// What the kernels of attention share. There are two sets of them. The tile kernels (bf16, head widths 64 and 128)
// compute 64 x 64 scores at a time on tensor cores, as FlashAttention-2 does (Dao 2023, algorithms 1 and 2), for groups
// of slices of queries or of keys. The row kernels (everything else) give a warp to each row, a lane to each of 32
// scores, all in f32.

#include <cmath>

#include "ops/cuda/attention_lists.h"
#include "ops/cuda/launch.cuh"
#include "ops/cuda/tensor_core.cuh"
#include "ops/cuda/visit_float.cuh"

namespace chorus::cuda {

struct HeadShape {
  std::int32_t heads, key_heads, width;
  float scale;   // 1 / √K
  bool vectors;  // rows of all tensors are whole 16-byte words

  __device__ int group() const { return heads / key_heads; }
  // Where token n's row of a head begins in [N, Hq, K] and [N, Hk, K].
  __device__ std::int64_t query(std::int64_t n, int head) const { return (n * heads + head) * width; }
  __device__ std::int64_t key(std::int64_t n, int head) const { return (n * key_heads + head) * width; }
};

template <typename T, typename... Tensors>
HeadShape head_shape(ConstTensor q, std::int64_t key_heads, const Tensors&... tensors) {
  const std::int64_t width = q.dim(2);
  const bool aligned = ((reinterpret_cast<std::uintptr_t>(tensors.address()) % 16 == 0) && ...);
  return {static_cast<std::int32_t>(q.dim(1)), static_cast<std::int32_t>(key_heads),
          static_cast<std::int32_t>(width), 1.0F / std::sqrt(static_cast<float>(width)),
          aligned && width * static_cast<std::int64_t>(sizeof(T)) % 16 == 0};
}

// Calls f with the width as a type where the tile kernels can compute it: f is [&]<int width>(...), and the result says
// whether it was called.
template <typename T, typename F>
bool with_tile_width(const HeadShape& shape, const F& f) {
  if constexpr (sizeof(T) == 2) {
    if (shape.vectors && shape.width == 64) return f(std::integral_constant<int, 64>()), true;
    if (shape.vectors && shape.width == 128) return f(std::integral_constant<int, 128>()), true;
  }
  return false;
}

inline constexpr float log2_e = 1.44269504088896341F, ln_2 = 0.693147180559945309F;

// --- tile kernels -----------------------------------------------------------------------------------------------

inline constexpr int tile_rows = AttentionTiles::rows_per_tile;
inline constexpr int tile_warps = 4;  // of 16 rows each
inline constexpr int tile_threads = tile_warps * 32;

// Place of a row's 16-byte word in shared memory. The exclusive or spreads the words of a column over the banks, so
// that ldmatrix has no conflicts.
template <int width>
__device__ __forceinline__ int swizzled(int row, int word) {
  return row * width + (word ^ (row % 8)) * 8;
}

// Starts to copy rows to shared memory; rows from `valid` on become zeros.
template <int width, int rows>
__device__ __forceinline__ void start_rows(__nv_bfloat16* to, const __nv_bfloat16* from, std::int64_t stride,
                                           int valid) {
  constexpr int words = width / 8;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < rows * words; i += tile_threads) {
    const int row = i / words, word = i % words;
    const bool is_valid = row < valid;
    start_copy(to + swizzled<width>(row, word), from + (is_valid ? row * stride + word * 8 : 0), is_valid);
  }
}

// The same for rows of any tokens; token_of(row) below 0: zeros. `from` is where token 0's row begins. Tokens are looked up four
// at a time, since nothing moves across a copy.
template <int width, int rows, typename F>
__device__ __forceinline__ void start_listed_rows(__nv_bfloat16* to, const __nv_bfloat16* from,
                                                  std::int64_t stride, const F& token_of) {
  constexpr int words = width / 8, rows_at_once = tile_threads / words, together = 4;
  static_assert(rows % (together * rows_at_once) == 0);
  const int first = static_cast<int>(threadIdx.x) / words, word = static_cast<int>(threadIdx.x) % words;
#pragma unroll 1
  for (int begin = first; begin < rows; begin += together * rows_at_once) {
    int token[together];
#pragma unroll
    for (int i = 0; i < together; ++i) token[i] = token_of(begin + i * rows_at_once);
#pragma unroll
    for (int i = 0; i < together; ++i) {
      start_copy(to + swizzled<width>(begin + i * rows_at_once, word),
                 from + (token[i] < 0 ? 0 : token[i] * stride + word * 8), token[i] >= 0);
    }
  }
}

// A tile of keys of a group, and its queries. `from` is where token 0's row begins.
template <int width>
__device__ __forceinline__ void start_keys(__nv_bfloat16* to, const __nv_bfloat16* from, std::int64_t stride,
                                           const TileLists& lists, int tile) {
  const AttentionTiles::GroupKeys keys = lists.group_keys[tile];
  if (keys.gathered < 0) {
    start_rows<width, tile_rows>(to, from + keys.first * stride, stride, keys.count);
  } else {
    const std::int32_t* tokens = lists.gathered + keys.gathered;
    start_listed_rows<width, tile_rows>(to, from, stride,
                                        [&](int row) { return row < keys.count ? tokens[row] : -1; });
  }
}
template <int width>
__device__ __forceinline__ void start_slices(__nv_bfloat16* to, const __nv_bfloat16* from,
                                             std::int64_t stride, const AttentionTiles::Group& group) {
  start_listed_rows<width, tile_rows>(to, from, stride, [&](int row) {
    const AttentionTiles::Slice slice = group.slices[row / AttentionTiles::rows_per_slice];
    const int in_slice = row % AttentionTiles::rows_per_slice;
    return in_slice < slice.rows ? slice.first + in_slice : -1;
  });
}

// The address 2 · `pair` words further along the row. As the lower bits of the word's number are changed by an exclusive or
// with the row, so must its address; this needs no register for each pair.
__device__ __forceinline__ std::uint32_t further(std::uint32_t address, int pair) {
  return (address ^ static_cast<std::uint32_t>(pair % 4 * 32)) + static_cast<std::uint32_t>(pair / 4 * 128);
}

// out [16, columns] = a bᵀ: rows first_row .. +15 of a, `columns` rows of b, both in shared memory.
template <int width, int columns>
__device__ __forceinline__ void multiply_transposed(float (&out)[columns / 8][4], const __nv_bfloat16* a,
                                                    int first_row, const __nv_bfloat16* b) {
  constexpr std::uint32_t rows_16 = 16 * width * sizeof(__nv_bfloat16);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const std::uint32_t from_a = shared_address(a + swizzled<width>(first_row + lane % 16, lane / 16));
  const std::uint32_t from_b = shared_address(b + swizzled<width>(lane / 16 * 8 + lane % 8, lane / 8 % 2));
#pragma unroll
  for (auto& fragment : out) fragment[0] = fragment[1] = fragment[2] = fragment[3] = 0;
#pragma unroll
  for (int k = 0; k < width / 16; ++k) {
    std::uint32_t left[4];
    load_matrices(left, further(from_a, k));
#pragma unroll
    for (int n = 0; n < columns / 16; ++n) {
      std::uint32_t right[4];
      load_matrices(right, further(from_b, k) + static_cast<std::uint32_t>(n) * rows_16);
      multiply_accumulate(out[2 * n], left, right[0], right[1]);
      multiply_accumulate(out[2 * n + 1], left, right[2], right[3]);
    }
  }
}

// out [16, width] += p b: p [16, depth] fragments, rounded to bf16; b [depth, width] in shared memory.
template <int width, int depth>
__device__ __forceinline__ void multiply_add(float (&out)[width / 8][4], const float (&p)[depth / 8][4],
                                             const __nv_bfloat16* b) {
  constexpr std::uint32_t rows_16 = 16 * width * sizeof(__nv_bfloat16);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const std::uint32_t from_b = shared_address(b + swizzled<width>(lane / 8 % 2 * 8 + lane % 8, lane / 16));
#pragma unroll
  for (int k = 0; k < depth / 16; ++k) {
    const float(&left_half)[4] = p[2 * k];
    const float(&right_half)[4] = p[2 * k + 1];
    const std::uint32_t left[4] = {
        pack_bf16(left_half[0], left_half[1]), pack_bf16(left_half[2], left_half[3]),
        pack_bf16(right_half[0], right_half[1]), pack_bf16(right_half[2], right_half[3])};
#pragma unroll
    for (int n = 0; n < width / 16; ++n) {
      std::uint32_t right[4];
      load_transposed_matrices(right, further(from_b, n) + static_cast<std::uint32_t>(k) * rows_16);
      multiply_accumulate(out[2 * n], left, right[0], right[1]);
      multiply_accumulate(out[2 * n + 1], left, right[2], right[3]);
    }
  }
}

// Writes one of a lane's two rows of fragments, times `factor`.  half 0: row lane / 4, 1: that + 8
template <int width>
__device__ __forceinline__ void store_fragment_row(__nv_bfloat16* row, const float (&fragments)[width / 8][4],
                                                   int half, float factor) {
  __nv_bfloat16* to = row + threadIdx.x % 4 * 2;
#pragma unroll
  for (int n = 0; n < width / 8; ++n) {
    store_vector(to + n * 8,
                 __floats2bfloat162_rn(fragments[n][2 * half] * factor, fragments[n][2 * half + 1] * factor));
  }
}

// Rows of a lane's fragments within the warp's 16, and the column of fragment n's elements 0 and 2.
__device__ __forceinline__ int slice_row(int half) {
  return static_cast<int>(threadIdx.x % 32 / 4) + half * 8;
}
__device__ __forceinline__ int fragment_column(int n) {
  return n * 8 + static_cast<int>(threadIdx.x % 4) * 2;
}

// A group's warp, which computes a slice of 16 queries, and what it sees of the tile of keys that it looks at.
struct SliceView {
  const TileLists& lists;
  int first, rows;  // of the slice
  AttentionTiles::GroupKeys keys;

  __device__ SliceView(const TileLists& l, const AttentionTiles::Group& group)
      : lists(l), first(group.slices[threadIdx.x / 32].first), rows(group.slices[threadIdx.x / 32].rows) {}

  // Whether any row sees any key, the same for all lanes.
  __device__ bool look_at(int tile) {
    keys = lists.group_keys[tile];
    if (rows == 0) return false;
    if (keys.seen < 0) return keys.gathered >= 0 || keys.first < first + rows;
    const std::int32_t* bits = lists.seen + keys.seen + threadIdx.x / 32 * 2;
    return (bits[0] | bits[1]) != 0;
  }
  // Whether every row sees all of a full tile.
  __device__ bool sees_all() const {
    return keys.seen < 0 && keys.count == tile_rows && keys.first + tile_rows <= first + 1;
  }
  // f(n, j, half, whether the row of fragment n's element 2 half + j sees its column's key)
  template <typename F>
  __device__ __forceinline__ void for_each_pair(const F& f) const {
    const std::int32_t* bits = lists.seen + keys.seen + threadIdx.x / 32 * 2;
    const int query = first + slice_row(0);
#pragma unroll
    for (int word = 0; word < 2; ++word) {
      const std::uint32_t seen = keys.seen < 0 ? ~0U : static_cast<std::uint32_t>(bits[word]);
#pragma unroll
      for (int n = 4 * word; n < 4 * word + 4; ++n) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const int column = fragment_column(n) + j;
          const bool is_key = column < keys.count && (seen >> (column % 32) & 1) != 0;
          const int token =
              keys.gathered < 0 || !is_key ? keys.first + column : lists.gathered[keys.gathered + column];
          f(n, j, 0, is_key && token <= query);
          f(n, j, 1, is_key && token <= query + 8);
        }
      }
    }
  }
};

// The token of a slice's row, -1 where there is none.
__device__ __forceinline__ int key_of(const TileLists& lists, const AttentionTiles::KeySlice& slice,
                                      int row) {
  if (row >= slice.rows) return -1;
  return slice.gathered < 0 ? slice.first + row : lists.gathered[slice.gathered + row];
}

// Walks over the query heads of a key head and, for each, over the tiles of queries that see a group of keys, `columns`
// queries at a time.
template <int columns>
struct QuerySteps {
  const TileLists& lists;
  const AttentionTiles::KeyGroup& keys;
  int head, end_head, tile;
  int first_column = 0, count;  // of the step in its tile, which has so many queries

  __device__ QuerySteps(const TileLists& l, const AttentionTiles::KeyGroup& k, int begin_head, int group)
      : lists(l),
        keys(k),
        head(begin_head),
        end_head(begin_head + group),
        tile(k.queries_begin),
        count(queries().count) {}
  __device__ bool done() const { return head == end_head; }
  __device__ const AttentionTiles::GroupQueries& queries() const { return lists.group_queries[tile]; }
  // The token of a row, -1 where there is none.
  __device__ int query(int row) const {
    const AttentionTiles::GroupQueries& of_tile = queries();
    const int column = first_column + row;
    if (column >= count) return -1;
    return of_tile.gathered < 0 ? of_tile.first + column : lists.gathered[of_tile.gathered + column];
  }
  __device__ bool is_masked() const { return tile >= keys.masked_begin; }
  // The words of the step's queries, where it is masked.
  __device__ const std::int32_t* visible() const {
    return lists.visible + keys.masks + (tile - keys.masked_begin) * tile_rows + first_column;
  }
  __device__ void advance() {
    first_column += columns;
    if (first_column < count) return;
    first_column = 0;
    if (++tile == keys.queries_end) {
      tile = keys.queries_begin;
      ++head;
    }
    count = queries().count;
  }
};

// --- row kernels ------------------------------------------------------------------------------------------------

// Their launch bounds say "1 block": otherwise ptxas spills registers to fit in more.
inline constexpr int row_warps = 4;
inline constexpr int row_threads = row_warps * 32;
inline constexpr int row_blocks_per_tile = tile_rows / row_warps;
inline constexpr int max_width = 256;

template <typename T>
__device__ __forceinline__ float dot(const float* a, const T* b, const HeadShape& shape) {
  float sum = 0;
  if (shape.vectors) {
    struct Word {
      T values[16 / sizeof(T)];
    };
    constexpr int lanes = 16 / sizeof(T);
    for (int d = 0; d < shape.width; d += lanes) {
      const Word word = load_vector<Word>(b + d);
#pragma unroll
      for (int i = 0; i < lanes; ++i) sum += a[d + i] * static_cast<float>(word.values[i]);
    }
  } else {
    for (int d = 0; d < shape.width; ++d) sum += a[d] * static_cast<float>(b[d]);
  }
  return sum;
}

// A row spread over the warp: lane l holds elements l, l + 32, …
struct LaneRow {
  float values[max_width / 32] = {};

  // += the sum over j < count of weights[j] · rows[j]
  template <typename T>
  __device__ __forceinline__ void add(const float* weights, const T* rows, std::int64_t stride, int count,
                                      int width) {
    const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll 1
    for (int j = 0; j < count; ++j) {
      const float weight = weights[j];
      const T* row = rows + j * stride;
#pragma unroll
      for (int i = 0; i < max_width / 32; ++i) {
        if (i * 32 + lane < width) values[i] += weight * static_cast<float>(row[i * 32 + lane]);
      }
    }
  }
  __device__ __forceinline__ void scale(float factor) {
#pragma unroll
    for (float& value : values) value *= factor;
  }
  template <typename T>
  __device__ __forceinline__ void store(T* to, int width, float factor) const {
    const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
    for (int i = 0; i < max_width / 32; ++i) {
      if (i * 32 + lane < width) to[i * 32 + lane] = static_cast<T>(values[i] * factor);
    }
  }
};

// A warp copies a row to its part of shared memory.
template <typename T>
__device__ __forceinline__ void share_row(float* to, const T* row, int width) {
  for (int d = static_cast<int>(threadIdx.x % 32); d < width; d += 32) to[d] = static_cast<float>(row[d]);
  __syncwarp();
}

// What each warp shares of its query and its keys' weights.
struct SoftmaxMemory {
  float q[row_warps][max_width];
  float weights[row_warps][32];
};

// One query's softmax over keys that come 32 at a time (Milakov & Gimelshein 2018, algorithm 3). One warp.
struct RowSoftmax {
  float maximum = -INFINITY;
  float lane_sum = 0;  // of the lane's own keys
  LaneRow out;

  // 0 < count <= 32 keys and values whose rows are `stride` elements apart. `q` and `weights` [32] are shared memory.
  template <typename T>
  __device__ __forceinline__ void visit(const float* q, float* weights, const T* keys, const T* values,
                                        std::int64_t stride, int count, const HeadShape& shape) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    // All lanes stay together: those without a key repeat the last one, in vain.
    const float product = dot(q, keys + min(lane, count - 1) * stride, shape);
    const float score = lane < count ? product * shape.scale : -INFINITY;
    const float larger = fmaxf(maximum, warp_max(score));
    const float correction = expf(maximum - larger), weight = lane < count ? expf(score - larger) : 0.0F;
    maximum = larger;
    lane_sum = lane_sum * correction + weight;
    out.scale(correction);
    __syncwarp();  // the weights of the keys before have been read
    weights[lane] = weight;
    __syncwarp();
    out.add(weights, values, stride, count, shape.width);
  }
};

}  // namespace chorus::cuda
