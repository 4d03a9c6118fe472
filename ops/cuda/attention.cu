#include "ops/cuda/attention.cuh"
#include "ops/cuda/cuda_backend.h"

namespace chorus {

namespace cuda {

template <typename T>
struct AttentionArguments {
  T* out;      // [N, Hq, K]
  float* lse;  // [N, Hq]
  const T *q, *k, *v;
  HeadShape shape;
  TileLists lists;
};

template <typename T>
__global__ void __launch_bounds__(row_threads, 1) attention_row_kernel(AttentionArguments<T> a) {
  SoftmaxMemory& memory = shared_memory<SoftmaxMemory>();
  const HeadShape& shape = a.shape;
  const int warp = static_cast<int>(threadIdx.x / 32), head = static_cast<int>(blockIdx.y);
  const AttentionTiles::Tile tile = a.lists.tiles[blockIdx.x / row_blocks_per_tile];
  const int row = static_cast<int>(blockIdx.x % row_blocks_per_tile) * row_warps + warp,
            key_head = head / shape.group();
  if (row >= tile.rows) return;  // a whole warp; the block has no barrier
  const int query = tile.first + row;
  share_row(memory.q[warp], a.q + shape.query(query, head), shape.width);
  RowSoftmax softmax;
  for (int t = tile.keys_begin; t < tile.keys_end; ++t) {
    const AttentionTiles::Keys keys = a.lists.keys[t];
    const int visible = min(keys.count, query - keys.first + 1);
    for (int j = 0; j < visible; j += 32) {
      const std::int64_t first = shape.key(keys.first + j, key_head);
      softmax.visit(memory.q[warp], memory.weights[warp], a.k + first, a.v + first, shape.key(1, 0),
                    min(32, visible - j), shape);
    }
  }
  const float sum = warp_sum(softmax.lane_sum);
  softmax.out.store(a.out + shape.query(query, head), shape.width, 1.0F / sum);
  if (threadIdx.x % 32 == 0) {
    a.lse[static_cast<std::int64_t>(query) * shape.heads + head] = softmax.maximum + logf(sum);
  }
}

template <int width>
struct AttentionTileMemory {
  alignas(128) __nv_bfloat16 q[tile_rows * width];
  __nv_bfloat16 k[2][tile_rows * width];
  __nv_bfloat16 v[2][tile_rows * width];
};

// The softmax of a lane's two rows. Scores are in units of ln 2, so that 2^x will do.
template <int width>
struct TileSoftmax {
  float maximum[2] = {-INFINITY, -INFINITY};
  float lane_sum[2] = {};  // of the lane's own columns
  float out[width / 8][4] = {};

  // Turns scores to weights.
  __device__ __forceinline__ void visit(float (&scores)[tile_rows / 8][4]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float larger = maximum[half];
#pragma unroll
      for (const auto& s : scores) larger = fmaxf(larger, fmaxf(s[2 * half], s[2 * half + 1]));
      larger = fmaxf(larger, __shfl_xor_sync(full_warp, larger, 1));
      larger = fmaxf(larger, __shfl_xor_sync(full_warp, larger, 2));
      const float correction = fast_exp2(maximum[half] - larger);
      maximum[half] = larger;
      float sum = 0;
#pragma unroll
      for (auto& s : scores) {
#pragma unroll
        for (int j = 2 * half; j < 2 * half + 2; ++j) sum += s[j] = fast_exp2(s[j] - larger);
      }
      lane_sum[half] = lane_sum[half] * correction + sum;
#pragma unroll
      for (auto& o : out) {
        o[2 * half] *= correction;
        o[2 * half + 1] *= correction;
      }
    }
  }
};

// Scales the scores to units of ln 2 and hides what the rows do not see.
__device__ __forceinline__ void scale_and_mask(float (&scores)[tile_rows / 8][4], float factor,
                                               const SliceView& view) {
#pragma unroll
  for (auto& s : scores) {
#pragma unroll
    for (float& score : s) score *= factor;
  }
  if (view.sees_all()) return;
  view.for_each_pair([&](int n, int j, int half, bool seen) {
    if (!seen) scores[n][2 * half + j] = -INFINITY;
  });
}

template <int width>
__device__ __forceinline__ void store_slice(const AttentionArguments<__nv_bfloat16>& a,
                                            TileSoftmax<width>& softmax, const SliceView& view, int head) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = softmax.lane_sum[half];
    sum += __shfl_xor_sync(full_warp, sum, 1);
    sum += __shfl_xor_sync(full_warp, sum, 2);
    const int row = slice_row(half);
    if (row >= view.rows) continue;
    const std::int64_t query = view.first + row;
    store_fragment_row<width>(a.out + a.shape.query(query, head), softmax.out, half, 1.0F / sum);
    if (threadIdx.x % 4 == 0) a.lse[query * a.shape.heads + head] = softmax.maximum[half] * ln_2 + logf(sum);
  }
}

// One block computes a group of queries of one head: while it works on a tile of keys, the next one is on its way.
template <int width>
__global__ void __launch_bounds__(tile_threads, width == 64 ? 3 : 2)
    attention_tile_kernel(AttentionArguments<__nv_bfloat16> a) {
  using Memory = AttentionTileMemory<width>;
  Memory& memory = shared_memory<Memory>();
  const HeadShape& shape = a.shape;
  // The last groups of a sequence have the most keys: they start first.
  const AttentionTiles::Group& group = a.lists.groups[gridDim.x - 1 - blockIdx.x];
  const int head = static_cast<int>(blockIdx.y), key_head = head / shape.group();
  const int warp = static_cast<int>(threadIdx.x / 32), end = group.keys_end;
  const std::int64_t of_head = shape.key(0, key_head);
  const auto start = [&](__nv_bfloat16* to, const __nv_bfloat16* from, int t) {
    if (t < end) start_keys<width>(to, from + of_head, shape.key(1, 0), a.lists, t);
    commit_copies();
  };
  start_slices<width>(memory.q, a.q + shape.query(0, head), shape.query(1, 0), group);
  start(memory.k[0], a.k, group.keys_begin);
  start(memory.v[0], a.v, group.keys_begin);
  SliceView view(a.lists, group);
  TileSoftmax<width> softmax;
  for (int t = group.keys_begin, buffer = 0; t < end; ++t, buffer ^= 1) {
    wait_for_copies<1>();  // k is here; v may be on its way
    __syncthreads();
    start(memory.k[buffer ^ 1], a.k, t + 1);
    float scores[tile_rows / 8][4];
    const bool sees = view.look_at(t);
    if (sees) {
      multiply_transposed<width, tile_rows>(scores, memory.q, warp * 16, memory.k[buffer]);
      scale_and_mask(scores, shape.scale * log2_e, view);
      softmax.visit(scores);
    }
    wait_for_copies<1>();  // v is here; the next k may be on its way
    __syncthreads();
    start(memory.v[buffer ^ 1], a.v, t + 1);
    if (sees) multiply_add<width, tile_rows>(softmax.out, scores, memory.v[buffer]);
  }
  wait_for_copies<0>();
  store_slice<width>(a, softmax, view, head);
}

}  // namespace cuda

void CudaBackend::attention(Tensor out, Tensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                            const Forest& forest) {
  if (out.empty()) return;
  const cuda::TileLists lists = attention_lists_->of(forest, *resources_);
  cuda::visit_float(q.dtype(), [&]<typename T>(T) {
    const cuda::AttentionArguments<T> arguments{cuda::elements<T>(out),
                                                cuda::elements<float>(lse),
                                                cuda::elements<T>(q),
                                                cuda::elements<T>(k),
                                                cuda::elements<T>(v),
                                                cuda::head_shape<T>(q, k.dim(1), out, q, k, v),
                                                lists};
    const bool done = cuda::with_tile_width<T>(arguments.shape, [&](auto width) {
      if constexpr (sizeof(T) == 2) {
        cuda::launch(cuda::attention_tile_kernel<width()>,
                     cuda::blocks(arguments.lists.group_count, q.dim(1)), cuda::tile_threads,
                     sizeof(cuda::AttentionTileMemory<width()>), stream(), arguments);
      }
    });
    if (done) return;
    cuda::launch(cuda::attention_row_kernel<T>,
                 cuda::blocks(std::int64_t{arguments.lists.count} * cuda::row_blocks_per_tile, q.dim(1)),
                 cuda::row_threads, sizeof(cuda::SoftmaxMemory), stream(), arguments);
  });
}

}  // namespace chorus
