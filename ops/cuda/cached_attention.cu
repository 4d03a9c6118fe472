#include "ops/cuda/attention.cuh"
#include "ops/cuda/cuda_backend.h"

namespace chorus {

namespace cuda {

// The cache is cut into parts, each read by a warp of its own, which a second kernel puts together ("flash decoding"): one
// sequence alone must keep a whole GPU reading. A part has a multiple of `part_step` rows.
inline constexpr std::int64_t most_parts = 32, part_step = 32;

template <typename T>
struct CachedAttentionArguments {
  T* out;              // [B, Hq, K]
  const T *q, *k, *v;  // [B, Hq, K], [B, S, Hk, K]
  const std::int32_t* lengths;
  float* sums;    // [B · Hq, parts, K]
  float* maxima;  // [B · Hq, parts]
  float* totals;  // [B · Hq, parts]
  HeadShape shape;
  std::int64_t rows;  // S
  int parts, rows_per_part;

  // Never beyond the cache, whatever `lengths` says.
  __device__ std::int64_t length(std::int64_t b) const { return lengths[b] < rows ? lengths[b] : rows; }
};

// What a warp serves: a part of the cache of one query head of one sequence, a block's warps neighbouring parts.
struct CachePart {
  std::int64_t row;  // of B · Hq
  std::int64_t b;
  int key_head;
  int part;
  std::int64_t begin;  // its first row of the cache
  int count;           // its rows that are there

  template <typename T>
  __device__ explicit CachePart(const CachedAttentionArguments<T>& a)
      : row(blockIdx.x),
        b(row / a.shape.heads),
        key_head(static_cast<int>(row % a.shape.heads) / a.shape.group()),
        part(static_cast<int>(blockIdx.y) * row_warps + static_cast<int>(threadIdx.x / 32)),
        begin(static_cast<std::int64_t>(part) * a.rows_per_part) {
    const std::int64_t left = a.length(b) - begin;
    count = static_cast<int>(left < a.rows_per_part ? left : a.rows_per_part);
  }
};

// Of any width and type.
template <typename T>
__global__ void __launch_bounds__(row_threads, 1) cached_attention_kernel(CachedAttentionArguments<T> a) {
  SoftmaxMemory& memory = shared_memory<SoftmaxMemory>();
  const HeadShape& shape = a.shape;
  const int warp = static_cast<int>(threadIdx.x / 32);
  const CachePart own(a);
  if (own.count <= 0) return;  // a whole warp; the block has no barrier
  share_row(memory.q[warp], a.q + own.row * shape.width, shape.width);
  RowSoftmax softmax;
  for (int j = 0; j < own.count; j += 32) {
    const std::int64_t first = shape.key(own.b * a.rows + own.begin + j, own.key_head);
    softmax.visit(memory.q[warp], memory.weights[warp], a.k + first, a.v + first, shape.key(1, 0),
                  min(32, own.count - j), shape);
  }
  const float total = warp_sum(softmax.lane_sum);
  const std::int64_t to = own.row * a.parts + own.part;
  softmax.out.store(a.sums + to * shape.width, shape.width, 1);
  if (threadIdx.x % 32 == 0) {
    a.maxima[to] = softmax.maximum;
    a.totals[to] = total;
  }
}

// Of rows that are whole 16-byte words: a lane has 8 features of every second (or fourth) row, and several rows of k and v
// are under way at once.
template <int width>
__global__ void __launch_bounds__(row_threads)
    cached_attention_words_kernel(CachedAttentionArguments<__nv_bfloat16> a) {
  constexpr int lanes = width / 8, lines = 32 / lanes, together = 4;
  struct Word {
    __nv_bfloat16 element[8];
  };
  const HeadShape& shape = a.shape;
  const CachePart own(a);
  if (own.count <= 0) return;  // a whole warp
  const int lane = static_cast<int>(threadIdx.x % 32), line = lane / lanes,
            first_feature = 8 * (lane % lanes);
  const std::int64_t first = shape.key(own.b * a.rows + own.begin, own.key_head) + first_feature;
  float q[8];
  load_floats(q, a.q + own.row * width + first_feature);
  float maximum = -INFINITY, total = 0, sum[8] = {};
  for (int j = 0; j < own.count; j += together * lines) {
    Word k[together], v[together];
#pragma unroll
    for (int i = 0; i < together; ++i) {
      // Rows that are not there are read as the last, and weigh nothing.
      const std::int64_t at = first + shape.key(min(j + i * lines + line, own.count - 1), 0);
      k[i] = load_vector<Word>(a.k + at);
      v[i] = load_vector<Word>(a.v + at);
    }
    float logit[together], largest = maximum;
#pragma unroll
    for (int i = 0; i < together; ++i) {
      float product = 0;
#pragma unroll
      for (int d = 0; d < 8; ++d) product += q[d] * static_cast<float>(k[i].element[d]);
#pragma unroll
      for (int distance = lanes / 2; distance > 0; distance /= 2)
        product += __shfl_xor_sync(full_warp, product, distance);
      logit[i] = j + i * lines + line < own.count ? product * shape.scale : -INFINITY;
      largest = fmaxf(largest, logit[i]);
    }
#pragma unroll
    for (int distance = lanes; distance < 32; distance *= 2)
      largest = fmaxf(largest, __shfl_xor_sync(full_warp, largest, distance));
    const float factor = expf(maximum - largest);
    maximum = largest;
    total *= factor;
#pragma unroll
    for (float& each : sum) each *= factor;
#pragma unroll
    for (int i = 0; i < together; ++i) {
      const float weight = expf(logit[i] - largest);
      total += weight;
#pragma unroll
      for (int d = 0; d < 8; ++d) sum[d] += weight * static_cast<float>(v[i].element[d]);
    }
  }
#pragma unroll
  for (int distance = lanes; distance < 32; distance *= 2) {
    total += __shfl_xor_sync(full_warp, total, distance);
#pragma unroll
    for (float& each : sum) each += __shfl_xor_sync(full_warp, each, distance);
  }
  const std::int64_t to = own.row * a.parts + own.part;
  if (line == 0) store_floats(a.sums + to * width + first_feature, sum);
  if (lane == 0) {
    a.maxima[to] = maximum;
    a.totals[to] = total;
  }
}

// A thread for each feature of a query head.
template <typename T>
__global__ void combine_parts_kernel(CachedAttentionArguments<T> a) {
  const std::int64_t row = blockIdx.x;
  const int width = a.shape.width;
  const int parts = static_cast<int>((a.length(row / a.shape.heads) + a.rows_per_part - 1) / a.rows_per_part);
  const float* maxima = a.maxima + row * a.parts;
  float largest = -INFINITY;
  for (int part = 0; part < parts; ++part) largest = fmaxf(largest, maxima[part]);
  for (int d = static_cast<int>(threadIdx.x); d < width; d += static_cast<int>(blockDim.x)) {
    float sum = 0, total = 0;
    for (int part = 0; part < parts; ++part) {
      const std::int64_t from = row * a.parts + part;
      const float factor = expf(maxima[part] - largest);
      sum += factor * a.sums[from * width + d];
      total += factor * a.totals[from];
    }
    a.out[row * width + d] = static_cast<T>(sum / total);
  }
}

}  // namespace cuda

void CudaBackend::cached_attention(Tensor out, ConstTensor q, ConstTensor k, ConstTensor v,
                                   ConstTensor lengths) {
  if (out.empty()) return;
  const std::int64_t query_rows = q.dim(0) * q.dim(1), width = q.dim(2);
  const std::int64_t rows_per_part =
      cuda::part_step * cuda::divide_up(k.dim(1), cuda::part_step * cuda::most_parts);
  const std::int64_t parts = cuda::divide_up(k.dim(1), rows_per_part);
  auto* const memory = static_cast<float*>(
      workspace(query_rows * parts * (width + 2) * static_cast<std::int64_t>(sizeof(float))));
  cuda::visit_float(q.dtype(), [&]<typename T>(T) {
    const cuda::CachedAttentionArguments<T> arguments{cuda::elements<T>(out),
                                                      cuda::elements<T>(q),
                                                      cuda::elements<T>(k),
                                                      cuda::elements<T>(v),
                                                      lengths.data<std::int32_t>(),
                                                      memory,
                                                      memory + query_rows * parts * width,
                                                      memory + query_rows * parts * (width + 1),
                                                      cuda::head_shape<T>(q, k.dim(2), q, k, v),
                                                      k.dim(1),
                                                      static_cast<int>(parts),
                                                      static_cast<int>(rows_per_part)};
    const dim3 grid = cuda::blocks(query_rows, cuda::divide_up(parts, cuda::row_warps));
    const bool done = cuda::with_tile_width<T>(arguments.shape, [&](auto tile_width) {
      if constexpr (sizeof(T) == 2) {
        cuda::launch(cuda::cached_attention_words_kernel<tile_width()>, grid, cuda::row_threads, 0, stream(),
                     arguments);
      }
    });
    if (!done) {
      cuda::launch(cuda::cached_attention_kernel<T>, grid, cuda::row_threads, sizeof(cuda::SoftmaxMemory),
                   stream(), arguments);
    }
    cuda::launch(cuda::combine_parts_kernel<T>, cuda::blocks(query_rows), 128, 0, stream(), arguments);
  });
}

}  // namespace chorus
