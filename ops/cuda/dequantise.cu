#include "ops/cuda/cuda_backend.h"
#include "ops/cuda/launch.cuh"
#include "ops/cuda/visit_float.cuh"
#include "ops/quantised_composed.h"

namespace chorus {

namespace cuda {

// Elements that a thread makes at a time, of one block of the matrix.
constexpr int dequantised_at_once = 8;

template <typename T>
__global__ void __launch_bounds__(threads_per_block)
    dequantise_int8_kernel(T* out, const std::uint8_t* codes, const float* scales, std::int64_t rows,
                           std::int64_t columns) {
  for_each_pack<1>(rows * columns / dequantised_at_once, [&]<int n>(Width<n>, std::int64_t pack) {
    const std::int64_t first = pack * dequantised_at_once;
    struct Codes {
      std::int8_t of[dequantised_at_once];
    };
    const auto code = load_vector<Codes>(codes + first);
    const float scale = scales[first / columns];
    float value[dequantised_at_once];
#pragma unroll
    for (int k = 0; k < dequantised_at_once; ++k) value[k] = static_cast<float>(code.of[k]) * scale;
    store_floats(out + first, value);
  });
}

// The tables lie in shared memory: threads of a warp look up different levels.
template <typename T>
__global__ void __launch_bounds__(threads_per_block)
    dequantise_nf4_kernel(T* out, const std::uint8_t* codes, const std::uint8_t* scale_codes,
                          const float* scales, const float* levels, std::int64_t rows,
                          std::int64_t row_blocks, std::int64_t first_block, std::int64_t row_stride) {
  constexpr int normal_levels = QuantisedMatrix::normal_levels,
                all_levels = normal_levels + QuantisedMatrix::dynamic_levels;
  struct Tables {
    float level[all_levels];
  };
  Tables& tables = shared_memory<Tables>();
  for (unsigned i = threadIdx.x; i < all_levels; i += blockDim.x) tables.level[i] = levels[i];
  __syncthreads();
  constexpr int packs_per_block = QuantisedMatrix::block / dequantised_at_once;
  const float mean = scales[0];
  for_each_pack<1>(rows * row_blocks * packs_per_block, [&]<int n>(Width<n>, std::int64_t pack) {
    const std::int64_t own = pack / packs_per_block;
    const std::int64_t block = first_block + own / row_blocks * row_stride + own % row_blocks;
    const float absmax = scales[1 + block / QuantisedMatrix::blocks_per_group] *
                             tables.level[normal_levels + scale_codes[own]] +
                         mean;
    struct Codes {
      std::uint8_t of[dequantised_at_once / 2];
    };
    const auto code = load_vector<Codes>(codes + pack * (dequantised_at_once / 2));
    float value[dequantised_at_once];
#pragma unroll
    for (int k = 0; k < dequantised_at_once / 2; ++k) {
      value[2 * k] = tables.level[code.of[k] >> 4] * absmax;
      value[2 * k + 1] = tables.level[code.of[k] & 15] * absmax;
    }
    store_floats(out + pack * dequantised_at_once, value);
  });
}

}  // namespace cuda

void CudaBackend::matmul_quantised(Tensor out, ConstTensor a, const QuantisedMatrix& matrix, Tensor scratch) {
  composed::matmul_quantised(*this, out, a, matrix, scratch);
}

void CudaBackend::dequantise(Tensor out, const QuantisedMatrix& matrix) {
  if (out.empty()) return;
  const auto* codes = matrix.codes.data<std::uint8_t>();
  const auto* scales = matrix.scales.data<float>();
  const dim3 blocks = cuda::blocks_for(out.elements() / cuda::dequantised_at_once);
  cuda::visit_float(out.dtype(), [&]<typename T>(T) {
    if (matrix.kind == Quantisation::int8) {
      return cuda::launch(cuda::dequantise_int8_kernel<T>, blocks, cuda::threads_per_block, 0, stream(),
                          cuda::elements<T>(out), codes, scales, matrix.rows(), matrix.columns());
    }
    constexpr std::size_t tables =
        sizeof(float) * (QuantisedMatrix::normal_levels + QuantisedMatrix::dynamic_levels);
    cuda::launch(cuda::dequantise_nf4_kernel<T>, blocks, cuda::threads_per_block, tables, stream(),
                 cuda::elements<T>(out), codes, matrix.scale_codes.data<std::uint8_t>(), scales,
                 matrix.levels.data<float>(), matrix.rows(), matrix.columns() / QuantisedMatrix::block,
                 matrix.first_block, matrix.row_stride);
  });
}

}  // namespace chorus
