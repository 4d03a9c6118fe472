#include "ops/cuda/attention.cuh"
#include "ops/cuda/cuda_backend.h"

namespace chorus {

namespace cuda {

// Rows of the cache that one warp reads. The parts are put together by a second kernel ("flash decoding").
inline constexpr int rows_per_part = 128;

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
  int parts;

  // Never beyond the cache, whatever `lengths` says.
  __device__ std::int64_t length(std::int64_t b) const { return lengths[b] < rows ? lengths[b] : rows; }
};

// A block serves one query head of one sequence, each of its warps one part of the cache.
template <typename T>
__global__ void __launch_bounds__(row_threads, 1) cached_attention_kernel(CachedAttentionArguments<T> a) {
  SoftmaxMemory& memory = shared_memory<SoftmaxMemory>();
  const HeadShape& shape = a.shape;
  const int warp = static_cast<int>(threadIdx.x / 32);
  const std::int64_t row = blockIdx.x, b = row / shape.heads;
  const int key_head = static_cast<int>(row % shape.heads) / shape.group();
  const int part = static_cast<int>(blockIdx.y) * row_warps + warp;
  const std::int64_t begin = static_cast<std::int64_t>(part) * rows_per_part, length = a.length(b);
  if (begin >= length) return;  // a whole warp; the block has no barrier
  share_row(memory.q[warp], a.q + row * shape.width, shape.width);
  RowSoftmax softmax;
  const int count = length - begin < rows_per_part ? static_cast<int>(length - begin) : rows_per_part;
  for (int j = 0; j < count; j += 32) {
    const std::int64_t first = shape.key(b * a.rows + begin + j, key_head);
    softmax.visit(memory.q[warp], memory.weights[warp], a.k + first, a.v + first, shape.key(1, 0),
                  min(32, count - j), shape);
  }
  const float total = warp_sum(softmax.lane_sum);
  const std::int64_t to = row * a.parts + part;
  softmax.out.store(a.sums + to * shape.width, shape.width, 1);
  if (threadIdx.x % 32 == 0) {
    a.maxima[to] = softmax.maximum;
    a.totals[to] = total;
  }
}

// A thread for each feature of a query head.
template <typename T>
__global__ void combine_parts_kernel(CachedAttentionArguments<T> a) {
  const std::int64_t row = blockIdx.x;
  const int width = a.shape.width;
  const int parts = static_cast<int>((a.length(row / a.shape.heads) + rows_per_part - 1) / rows_per_part);
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
  const std::int64_t parts = cuda::divide_up(k.dim(1), cuda::rows_per_part);
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
                                                      cuda::head_shape<T>(q, k.dim(2), k),
                                                      k.dim(1),
                                                      static_cast<int>(parts)};
    cuda::launch(cuda::cached_attention_kernel<T>,
                 cuda::blocks(query_rows, cuda::divide_up(parts, cuda::row_warps)), cuda::row_threads,
                 sizeof(cuda::SoftmaxMemory), stream(), arguments);
    cuda::launch(cuda::combine_parts_kernel<T>, cuda::blocks(query_rows), 128, 0, stream(), arguments);
  });
}

}  // namespace chorus
