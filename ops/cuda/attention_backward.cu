#include "ops/cuda/attention.cuh"
#include "ops/cuda/cuda_backend.h"

namespace chorus {

namespace cuda {

// What the backward pass needs to know of a query's row of probabilities.
struct RowTerms {
  float lse;
  float delta;  // sum of dout · out
};
static_assert(sizeof(RowTerms) == device_memory::attention_workspace(1));

template <typename T>
struct AttentionBackwardArguments {
  T *dq, *dk, *dv;
  const T *dout, *out, *q, *k, *v;
  const float* lse;
  RowTerms* terms;  // [N, Hq]
  HeadShape shape;
  TileLists lists;
  std::int64_t query_rows;  // N · Hq
};

// A warp for each row of each head.
template <typename T>
__global__ void __launch_bounds__(row_threads, 1) row_terms_kernel(AttentionBackwardArguments<T> a) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * row_warps + threadIdx.x / 32;
  if (row >= a.query_rows) return;
  const T* dout = a.dout + row * a.shape.width;
  const T* out = a.out + row * a.shape.width;
  float sum = 0;
  for (int d = static_cast<int>(threadIdx.x % 32); d < a.shape.width; d += 32)
    sum += static_cast<float>(dout[d]) * static_cast<float>(out[d]);
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) store_vector(a.terms + row, RowTerms{a.lse[row], sum});
}

// The same of rows that are whole 16-byte words, as many rows a warp as it can read at once.
template <int width>
__global__ void __launch_bounds__(row_threads)
    row_terms_words_kernel(AttentionBackwardArguments<__nv_bfloat16> a) {
  constexpr int lanes = width / 8;
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * row_threads + threadIdx.x;
  const std::int64_t row = min(thread / lanes, a.query_rows - 1);
  float dout[8], out[8];
  load_floats(dout, a.dout + row * width + thread % lanes * 8);
  load_floats(out, a.out + row * width + thread % lanes * 8);
  float sum = 0;
#pragma unroll
  for (int d = 0; d < 8; ++d) sum += dout[d] * out[d];
#pragma unroll
  for (int distance = lanes / 2; distance > 0; distance /= 2)
    sum += __shfl_xor_sync(full_warp, sum, distance);
  if (thread % lanes == 0 && thread / lanes < a.query_rows)
    store_vector(a.terms + row, RowTerms{a.lse[row], sum});
}

// --- rows -------------------------------------------------------------------------------------------------------

struct BackwardRowMemory {
  float a[row_warps][max_width];  // q or k
  float b[row_warps][max_width];  // dout or v
  float p[row_warps][32], ds[row_warps][32];
};

template <typename T>
__global__ void __launch_bounds__(row_threads, 1) dq_row_kernel(AttentionBackwardArguments<T> a) {
  BackwardRowMemory& memory = shared_memory<BackwardRowMemory>();
  const HeadShape& shape = a.shape;
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const int head = static_cast<int>(blockIdx.y), key_head = head / shape.group();
  const AttentionTiles::Tile tile = a.lists.tiles[blockIdx.x / row_blocks_per_tile];
  const int row = static_cast<int>(blockIdx.x % row_blocks_per_tile) * row_warps + warp;
  if (row >= tile.rows) return;
  const int query = tile.first + row;
  share_row(memory.a[warp], a.q + shape.query(query, head), shape.width);
  share_row(memory.b[warp], a.dout + shape.query(query, head), shape.width);
  const auto terms = load_vector<RowTerms>(a.terms + static_cast<std::int64_t>(query) * shape.heads + head);
  LaneRow dq;
  for (int t = tile.keys_begin; t < tile.keys_end; ++t) {
    const AttentionTiles::Keys keys = a.lists.keys[t];
    const int visible = min(keys.count, query - keys.first + 1);
    for (int j = 0; j < visible; j += 32) {
      const std::int64_t first = shape.key(keys.first + j, key_head);
      const std::int64_t mine = first + shape.key(min(lane, visible - 1 - j), 0);
      const float p = expf(dot(memory.a[warp], a.k + mine, shape) * shape.scale - terms.lse);
      const float ds = p * (dot(memory.b[warp], a.v + mine, shape) - terms.delta);
      __syncwarp();
      memory.ds[warp][lane] = j + lane < visible ? ds : 0.0F;
      __syncwarp();
      dq.add(memory.ds[warp], a.k + first, shape.key(1, 0), min(32, visible - j), shape.width);
    }
  }
  dq.store(a.dq + shape.query(query, head), shape.width, shape.scale);
}

// A warp for each row of keys: all queries of the group of heads that see it, in order.
template <typename T>
__global__ void __launch_bounds__(row_threads, 1) dkv_row_kernel(AttentionBackwardArguments<T> a) {
  BackwardRowMemory& memory = shared_memory<BackwardRowMemory>();
  const HeadShape& shape = a.shape;
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const int key_head = static_cast<int>(blockIdx.y);
  const AttentionTiles::Tile tile = a.lists.tiles[blockIdx.x / row_blocks_per_tile];
  const int row = static_cast<int>(blockIdx.x % row_blocks_per_tile) * row_warps + warp;
  if (row >= tile.rows) return;
  const int key = tile.first + row;
  share_row(memory.a[warp], a.k + shape.key(key, key_head), shape.width);
  share_row(memory.b[warp], a.v + shape.key(key, key_head), shape.width);
  LaneRow dk, dv;
  // The queries first .. first + 31 below `end`, of one head.
  const auto visit = [&](int first, int end, int head) {
    const int query = first + lane;
    float p = 0, ds = 0;
    if (query < end && query >= key) {
      const auto terms =
          load_vector<RowTerms>(a.terms + static_cast<std::int64_t>(query) * shape.heads + head);
      p = expf(dot(memory.a[warp], a.q + shape.query(query, head), shape) * shape.scale - terms.lse);
      ds = p * (dot(memory.b[warp], a.dout + shape.query(query, head), shape) - terms.delta);
    }
    __syncwarp();
    memory.p[warp][lane] = p;
    memory.ds[warp][lane] = ds;
    __syncwarp();
    const std::int64_t from = shape.query(first, head), stride = shape.query(1, 0);
    dv.add(memory.p[warp], a.dout + from, stride, min(32, end - first), shape.width);
    dk.add(memory.ds[warp], a.q + from, stride, min(32, end - first), shape.width);
  };
  for (int head = key_head * shape.group(); head < (key_head + 1) * shape.group(); ++head) {
    for (int r = tile.runs_begin; r < tile.runs_end; ++r) {
      const AttentionTiles::Run run = a.lists.runs[r];
      for (int t = row < run.visible ? run.begin : run.end; t < run.end; ++t) {
        const AttentionTiles::Tile queries = a.lists.tiles[t];
        for (int i = 0; i < queries.rows; i += 32)
          visit(queries.first + i, queries.first + queries.rows, head);
      }
    }
  }
  dk.store(a.dk + shape.key(key, key_head), shape.width, shape.scale);
  dv.store(a.dv + shape.key(key, key_head), shape.width, 1);
}

// --- dq in tiles ------------------------------------------------------------------------------------------------

template <int width>
struct DqTileMemory {
  alignas(128) __nv_bfloat16 q[tile_rows * width];
  __nv_bfloat16 dout[tile_rows * width];
  __nv_bfloat16 k[2][tile_rows * width];
  __nv_bfloat16 v[tile_rows * width];
};

// Scores to probabilities by the rows' lse in units of ln 2; 0 where a row does not see the key.
__device__ __forceinline__ void probabilities(float (&scores)[tile_rows / 8][4], float factor,
                                              const float (&lse)[2], const SliceView& view) {
#pragma unroll
  for (auto& s : scores) {
#pragma unroll
    for (int j = 0; j < 4; ++j) s[j] = fast_exp2(s[j] * factor - lse[j / 2]);
  }
  if (view.sees_all()) return;
  view.for_each_pair([&](int n, int j, int half, bool seen) {
    if (!seen) scores[n][2 * half + j] = 0;
  });
}

// p becomes ds = p (dp - delta), by rows.
__device__ __forceinline__ void score_gradients(float (&p)[tile_rows / 8][4],
                                                const float (&dp)[tile_rows / 8][4],
                                                const float (&delta)[2]) {
#pragma unroll
  for (int n = 0; n < tile_rows / 8; ++n) {
#pragma unroll
    for (int j = 0; j < 4; ++j) p[n][j] *= dp[n][j] - delta[j / 2];
  }
}

// One block computes a group of queries of one head. k is double-buffered as it is needed first and last; v has one
// buffer, which is filled while dq is added up and the next scores are computed.
template <int width>
__global__ void __launch_bounds__(tile_threads, 2)
    dq_tile_kernel(AttentionBackwardArguments<__nv_bfloat16> a) {
  using Memory = DqTileMemory<width>;
  Memory& memory = shared_memory<Memory>();
  const HeadShape& shape = a.shape;
  const AttentionTiles::Group& group = a.lists.groups[gridDim.x - 1 - blockIdx.x];  // the longest first
  const int head = static_cast<int>(blockIdx.y), key_head = head / shape.group(), end = group.keys_end;
  const int first_row = static_cast<int>(threadIdx.x / 32) * 16;
  const std::int64_t of_head = shape.key(0, key_head);
  const auto start = [&](__nv_bfloat16* to, const __nv_bfloat16* from, int t) {
    if (t < end) start_keys<width>(to, from + of_head, shape.key(1, 0), a.lists, t);
    commit_copies();
  };
  start_slices<width>(memory.q, a.q + shape.query(0, head), shape.query(1, 0), group);
  start_slices<width>(memory.dout, a.dout + shape.query(0, head), shape.query(1, 0), group);
  start(memory.k[0], a.k, group.keys_begin);
  start(memory.v, a.v, group.keys_begin);
  SliceView view(a.lists, group);
  float lse[2], delta[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int64_t query = view.first + max(0, min(slice_row(half), view.rows - 1));
    const auto terms = load_vector<RowTerms>(a.terms + query * shape.heads + head);
    lse[half] = terms.lse * log2_e;
    delta[half] = terms.delta;
  }
  float dq[width / 8][4] = {};
  for (int t = group.keys_begin, buffer = 0; t < end; ++t, buffer ^= 1) {
    wait_for_copies<1>();  // k is here
    __syncthreads();
    start(memory.k[buffer ^ 1], a.k, t + 1);
    float p[tile_rows / 8][4], dp[tile_rows / 8][4];
    const bool sees = view.look_at(t);
    if (sees) {
      multiply_transposed<width, tile_rows>(p, memory.q, first_row, memory.k[buffer]);
      probabilities(p, shape.scale * log2_e, lse, view);
    }
    wait_for_copies<1>();  // v is here
    __syncthreads();
    if (sees) multiply_transposed<width, tile_rows>(dp, memory.dout, first_row, memory.v);
    __syncthreads();
    start(memory.v, a.v, t + 1);
    if (sees) {
      score_gradients(p, dp, delta);
      multiply_add<width, tile_rows>(dq, p, memory.k[buffer]);
    }
  }
  wait_for_copies<0>();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = slice_row(half);
    if (row < view.rows)
      store_fragment_row<width>(a.dq + shape.query(view.first + row, head), dq, half, shape.scale);
  }
}

// --- dk and dv in tiles -----------------------------------------------------------------------------------------

// Queries per step: as many as leave the registers for dk and dv.
template <int width>
inline constexpr int step_rows = width == 64 ? 64 : 32;

template <int width>
struct DkvTileMemory {
  alignas(128) __nv_bfloat16 k[tile_rows * width];
  __nv_bfloat16 v[tile_rows * width];
  __nv_bfloat16 q[2][step_rows<width> * width];
  __nv_bfloat16 dout[2][step_rows<width> * width];
  float lse[step_rows<width>];  // in units of ln 2
  float delta[step_rows<width>];
  std::uint32_t visible[2][step_rows<width>];  // of each slice, a byte each
};

// How many keys of the warp's slice a query sees, from the query's word.
__device__ __forceinline__ int visible_keys(std::uint32_t word) {
  return static_cast<int>(word >> (threadIdx.x / 32 * 8) & 0xff);
}

// Whether any query of the step sees a key of the warp's slice, the same for all lanes.
template <int columns>
__device__ __forceinline__ bool any_visible(const std::uint32_t* visible) {
  std::uint32_t words = 0;
#pragma unroll
  for (int i = 0; i < columns; i += 32) words |= visible[i + static_cast<int>(threadIdx.x % 32)];
  return __any_sync(full_warp, visible_keys(words) != 0) != 0;
}

// pᵀ [16 keys of the warp, queries of the step]: scores to probabilities.
template <int columns>
__device__ __forceinline__ void transposed_probabilities(float (&scores)[columns / 8][4], float factor,
                                                         const float* lse) {
#pragma unroll
  for (int n = 0; n < columns / 8; ++n) {
    const float2 of_column = load_vector<float2>(lse + fragment_column(n));
#pragma unroll
    for (int j = 0; j < 4; ++j)
      scores[n][j] = fast_exp2(scores[n][j] * factor - (j % 2 == 0 ? of_column.x : of_column.y));
  }
}

// 0 where the query does not see the key.
template <int columns>
__device__ __forceinline__ void mask_transposed(float (&p)[columns / 8][4], const std::uint32_t* visible) {
#pragma unroll
  for (int n = 0; n < columns / 8; ++n) {
    const uint2 words = load_vector<uint2>(visible + fragment_column(n));
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (slice_row(j / 2) >= visible_keys(j % 2 == 0 ? words.x : words.y)) p[n][j] = 0;
  }
}

// dsᵀ = pᵀ (dpᵀ - delta), by columns, in place of dpᵀ.
template <int columns>
__device__ __forceinline__ void transposed_gradients(float (&dp)[columns / 8][4],
                                                     const float (&p)[columns / 8][4], const float* delta) {
#pragma unroll
  for (int n = 0; n < columns / 8; ++n) {
    const float2 of_column = load_vector<float2>(delta + fragment_column(n));
#pragma unroll
    for (int j = 0; j < 4; ++j) dp[n][j] = p[n][j] * (dp[n][j] - (j % 2 == 0 ? of_column.x : of_column.y));
  }
}

// One block computes a group of keys of one key head; scores are transposed, so that a warp owns a slice of 16 keys.
template <int width>
__global__ void __launch_bounds__(tile_threads, 2)
    dkv_tile_kernel(AttentionBackwardArguments<__nv_bfloat16> a) {
  constexpr int columns = step_rows<width>, words = width / 8;
  using Memory = DkvTileMemory<width>;
  Memory& memory = shared_memory<Memory>();
  const HeadShape& shape = a.shape;
  // The first keys of a sequence are seen by the most queries; they stand last and start first.
  const AttentionTiles::KeyGroup& group = a.lists.key_groups[gridDim.x - 1 - blockIdx.x];
  const int key_head = static_cast<int>(blockIdx.y), thread = static_cast<int>(threadIdx.x);
  const int first_row = thread / 32 * 16;
  QuerySteps<columns> ahead(a.lists, group, key_head * shape.group(), shape.group());
  // A query that is not there has probability 2^-∞.
  const auto start = [&](int buffer) {
    RowTerms terms{INFINITY, 0};
    if (!ahead.done()) {
      // All are looked up before the first copy, behind which the compiler moves no access to memory.
      int queries[columns * words / tile_threads];
#pragma unroll
      for (int i = 0; i < columns * words / tile_threads; ++i)
        queries[i] = ahead.query((thread + i * tile_threads) / words);
      const std::int64_t mine = thread < columns ? ahead.query(thread) : -1;
      if (mine >= 0) terms = load_vector<RowTerms>(a.terms + mine * shape.heads + ahead.head);
#pragma unroll
      for (int i = 0; i < columns * words / tile_threads; ++i) {
        const int row = (thread + i * tile_threads) / words, word = thread % words;
        const std::int64_t from = shape.query(max(queries[i], 0), ahead.head) + word * 8;
        start_copy(memory.q[buffer] + swizzled<width>(row, word), a.q + from, queries[i] >= 0);
        start_copy(memory.dout[buffer] + swizzled<width>(row, word), a.dout + from, queries[i] >= 0);
      }
      if (ahead.is_masked() && thread < columns / 4) {
        start_copy(memory.visible[buffer] + thread * 4, ahead.visible() + thread * 4, true);
      }
    }
    commit_copies();
    return terms;
  };
  const auto share = [&](const RowTerms& terms) {
    if (thread >= columns) return;
    memory.lse[thread] = terms.lse * log2_e;
    memory.delta[thread] = terms.delta;
  };
  const auto start_slices_of_keys = [&](__nv_bfloat16* to, const __nv_bfloat16* from) {
    start_listed_rows<width, tile_rows>(to, from + shape.key(0, key_head), shape.key(1, 0), [&](int row) {
      return key_of(a.lists, group.slices[row / AttentionTiles::rows_per_slice],
                    row % AttentionTiles::rows_per_slice);
    });
  };
  start_slices_of_keys(memory.k, a.k);
  start_slices_of_keys(memory.v, a.v);
  share(start(0));
  float dk[width / 8][4] = {}, dv[width / 8][4] = {};
  const bool has_keys = group.slices[thread / 32].rows > 0;
  for (int buffer = 0; !ahead.done(); buffer ^= 1) {
    const bool is_masked = ahead.is_masked();
    ahead.advance();
    const RowTerms next = start(buffer ^ 1);
    wait_for_copies<1>();
    __syncthreads();
    if (is_masked ? any_visible<columns>(memory.visible[buffer]) : has_keys) {
      float p[columns / 8][4], ds[columns / 8][4];
      multiply_transposed<width, columns>(p, memory.k, first_row, memory.q[buffer]);
      transposed_probabilities<columns>(p, shape.scale * log2_e, memory.lse);
      if (is_masked) mask_transposed<columns>(p, memory.visible[buffer]);
      multiply_add<width, columns>(dv, p, memory.dout[buffer]);
      multiply_transposed<width, columns>(ds, memory.v, first_row, memory.dout[buffer]);
      transposed_gradients<columns>(ds, p, memory.delta);
      multiply_add<width, columns>(dk, ds, memory.q[buffer]);
    }
    __syncthreads();  // all have read this step's queries
    share(next);
  }
  wait_for_copies<0>();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int key = key_of(a.lists, group.slices[thread / 32], slice_row(half));
    if (key < 0) continue;
    store_fragment_row<width>(a.dk + shape.key(key, key_head), dk, half, shape.scale);
    store_fragment_row<width>(a.dv + shape.key(key, key_head), dv, half, 1);
  }
}

template <typename T>
void launch_backward(const AttentionBackwardArguments<T>& arguments, cudaStream_t stream) {
  const HeadShape& shape = arguments.shape;
  const std::int64_t tiles = arguments.lists.count;
  const bool done = with_tile_width<T>(shape, [&](auto width) {
    if constexpr (sizeof(T) == 2) {
      launch(row_terms_words_kernel<width()>,
             blocks(divide_up(arguments.query_rows * width() / 8, row_threads)), row_threads, 0, stream,
             arguments);
      launch(dq_tile_kernel<width()>, blocks(arguments.lists.group_count, shape.heads), tile_threads,
             sizeof(DqTileMemory<width()>), stream, arguments);
      launch(dkv_tile_kernel<width()>, blocks(arguments.lists.key_group_count, shape.key_heads), tile_threads,
             sizeof(DkvTileMemory<width()>), stream, arguments);
    }
  });
  if (done) return;
  launch(row_terms_kernel<T>, blocks(divide_up(arguments.query_rows, row_warps)), row_threads, 0, stream,
         arguments);
  launch(dq_row_kernel<T>, blocks(tiles * row_blocks_per_tile, shape.heads), row_threads,
         sizeof(BackwardRowMemory), stream, arguments);
  launch(dkv_row_kernel<T>, blocks(tiles * row_blocks_per_tile, shape.key_heads), row_threads,
         sizeof(BackwardRowMemory), stream, arguments);
}

}  // namespace cuda

// dq by queries, dk and dv by keys: every sum is one warp's own, in a fixed order.
void CudaBackend::attention_backward(Tensor dq, Tensor dk, Tensor dv, ConstTensor dout, ConstTensor out,
                                     ConstTensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                                     const Forest& forest) {
  if (k.empty()) return;
  const cuda::TileLists lists = attention_lists_->of(forest, *resources_);
  const std::int64_t rows = q.dim(0) * q.dim(1);
  void* const memory = workspace(device_memory::attention_workspace(rows));
  cuda::visit_float(q.dtype(), [&]<typename T>(T) {
    const cuda::AttentionBackwardArguments<T> arguments{
        cuda::elements<T>(dq),
        cuda::elements<T>(dk),
        cuda::elements<T>(dv),
        cuda::elements<T>(dout),
        cuda::elements<T>(out),
        cuda::elements<T>(q),
        cuda::elements<T>(k),
        cuda::elements<T>(v),
        cuda::elements<float>(lse),
        static_cast<cuda::RowTerms*>(memory),
        cuda::head_shape<T>(q, k.dim(1), dq, dk, dv, dout, out, q, k, v),
        lists,
        rows};
    cuda::launch_backward(arguments, stream());
  });
}

}  // namespace chorus
