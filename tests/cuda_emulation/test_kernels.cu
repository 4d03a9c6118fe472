#include "ops/cuda/device.cuh"
#include "tests/cuda_emulation/test_kernels.h"

namespace chorus::cuda_emulation {

namespace kernels {

struct RotationMemory {
  float a[rotated_block];
};

__device__ __forceinline__ void copy_async(void* to, const void* from, unsigned valid) {
  CHORUS_PTX("cp.async.cg.shared.global [%0], [%1], 16, %2;", (),
             (CHORUS_R_I(cuda::shared_address(to)), CHORUS_L_I(from), CHORUS_R_I(valid)));
}
__device__ __forceinline__ void commit_copies() { CHORUS_PTX("cp.async.commit_group;", (), ()); }

__device__ __forceinline__ void fill(RotationMemory& memory, Bug bug, const float* in, int count) {
  const int t = static_cast<int>(threadIdx.x), i = static_cast<int>(blockIdx.x) * rotated_block + t;
  switch (bug) {
    case Bug::uninitialized_shared:
      if (t < 64) memory.a[t] = in[t];
      return;
    case Bug::copy_not_waited_for:
      if (t < rotated_block / 4) {
        copy_async(&memory.a[t * 4], in + t * 4, 16);
        commit_copies();
      }
      return;
    case Bug::misaligned:
      memory.a[t] = t < 8 ? cuda::load_vector<float4>(in + t + 1).x : 0.0F;
      return;
    default:
      memory.a[t] = i < count ? in[i] : 0.0F;
  }
}

// `depth` never is negative, as the compiler does not know.
__device__ inline float recurse(const float* in, float depth) {
  volatile float here[16] = {depth};
  if (depth < 0) return in[0];
  return recurse(in, here[0] + 1) + here[1];
}

__global__ void rotated_sum_kernel(Bug bug, const float* in, float* out, int count) {
  auto& memory = cuda::shared_memory<RotationMemory>();
  const int t = static_cast<int>(threadIdx.x), i = static_cast<int>(blockIdx.x) * rotated_block + t;
  fill(memory, bug, in, count);
  if (bug == Bug::divergent_barrier && t >= 64) {
    __syncthreads();
  } else if (bug == Bug::barrier_without_all && t == 5) {
    __syncwarp();
  } else if (bug != Bug::missing_barrier) {
    __syncthreads();
  }
  float value = memory.a[(t + 33) % rotated_block];
  if (bug == Bug::out_of_bounds_shared && t == 7) value += memory.a[t + count - rotated_block];
  if (bug == Bug::divergent_shuffle) {
    if (t % 32 < 16) value += __shfl_xor_sync(cuda::full_warp, value, 1);
  } else {
    value += __shfl_xor_sync(cuda::full_warp, value, 1);
  }
  if (bug == Bug::race_after_shuffle) {  // a shuffle does not order accesses to memory
    memory.a[t] = value;
    value = __shfl_xor_sync(cuda::full_warp, memory.a[t ^ 1], 1);
  }
  if (bug == Bug::endless_recursion && t == 3) value += recurse(in, 0);
  if (bug == Bug::race_between_blocks) {
    if (t == 0) out[0] += value;
  } else if (i < count || bug == Bug::out_of_bounds) {
    out[i] = value;
  }
}

struct SumMemory {
  float partial[32];
};

__global__ void sum_blocks_kernel(const float* in, float* out, int per_block) {
  auto& memory = cuda::shared_memory<SumMemory>();
  const float* own = in + static_cast<std::int64_t>(blockIdx.x) * per_block;
  float sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < per_block; i += static_cast<int>(blockDim.x)) sum += own[i];
  sum = cuda::block_sum(sum, memory.partial);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

__global__ void write_at_kernel(float* data, std::int64_t i, float value) { data[i] = value; }
__global__ void read_at_kernel(const float* data, std::int64_t i, float* out) { out[0] = data[i]; }
__global__ void count_threads_kernel(unsigned* out) { atomicAdd(out, 1U); }

__global__ void multiply_bf16_kernel(const Fragments* in, float (*out)[4]) {
  const unsigned lane = threadIdx.x;
  float d[4] = {in->c[lane][0], in->c[lane][1], in->c[lane][2], in->c[lane][3]};
  CHORUS_PTX(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};",
      (CHORUS_F_IO(d[0]), CHORUS_F_IO(d[1]), CHORUS_F_IO(d[2]), CHORUS_F_IO(d[3])),
      (CHORUS_R_I(in->a[lane][0]), CHORUS_R_I(in->a[lane][1]), CHORUS_R_I(in->a[lane][2]),
       CHORUS_R_I(in->a[lane][3]), CHORUS_R_I(in->b[lane][0]), CHORUS_R_I(in->b[lane][1])));
  for (int i = 0; i < 4; ++i) out[lane][i] = d[i];
}

__global__ void multiply_tf32_kernel(const Fragments* in, float (*out)[4]) {
  const unsigned lane = threadIdx.x;
  float d[4] = {in->c[lane][0], in->c[lane][1], in->c[lane][2], in->c[lane][3]};
  CHORUS_PTX(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};",
      (CHORUS_F_IO(d[0]), CHORUS_F_IO(d[1]), CHORUS_F_IO(d[2]), CHORUS_F_IO(d[3])),
      (CHORUS_R_I(in->a[lane][0]), CHORUS_R_I(in->a[lane][1]), CHORUS_R_I(in->a[lane][2]),
       CHORUS_R_I(in->a[lane][3]), CHORUS_R_I(in->b[lane][0]), CHORUS_R_I(in->b[lane][1])));
  for (int i = 0; i < 4; ++i) out[lane][i] = d[i];
}

struct MatrixMemory {
  alignas(16) std::uint16_t elements[16][16];
};

__global__ void load_fragments_kernel(const std::uint16_t* matrix, std::uint32_t (*out)[4], bool transpose) {
  auto& memory = cuda::shared_memory<MatrixMemory>();
  const unsigned lane = threadIdx.x;
  for (unsigned i = 0; i < 8; ++i) {
    const unsigned e = lane * 8 + i;
    memory.elements[e / 16][e % 16] = matrix[e];
  }
  __syncwarp();
  const std::uint32_t address = cuda::shared_address(&memory.elements[lane % 16][lane / 16 * 8]);
  std::uint32_t r[4];
  if (transpose) {
    CHORUS_PTX("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];",
               (CHORUS_R_O(r[0]), CHORUS_R_O(r[1]), CHORUS_R_O(r[2]), CHORUS_R_O(r[3])),
               (CHORUS_R_I(address)));
  } else {
    CHORUS_PTX("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];",
               (CHORUS_R_O(r[0]), CHORUS_R_O(r[1]), CHORUS_R_O(r[2]), CHORUS_R_O(r[3])),
               (CHORUS_R_I(address)));
  }
  for (int i = 0; i < 4; ++i) out[lane][i] = r[i];
}

__global__ void exp2_kernel(const float* in, float* out, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  float result;
  CHORUS_PTX("ex2.approx.ftz.f32 %0, %1;", (CHORUS_F_O(result)), (CHORUS_F_I(in[i])));
  out[i] = result;
}

struct CopyMemory {
  alignas(16) float values[4];
};

__global__ void copy_partly_kernel(const float* in, float* out, unsigned valid) {
  auto& memory = cuda::shared_memory<CopyMemory>();
  copy_async(memory.values, in, valid);
  CHORUS_PTX("cp.async.wait_all;", (), ());
  for (int i = 0; i < 4; ++i) out[i] = memory.values[i];
}

__global__ void nothing_kernel() {}

}  // namespace kernels

namespace {

cudaLaunchConfig_t configuration(int blocks, int threads, std::size_t shared_bytes, cudaStream_t stream) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return config;
}

}  // namespace

cudaError_t rotated_sum(Bug bug, const float* in, float* out, int count, cudaStream_t stream) {
  const auto config = configuration((count + rotated_block - 1) / rotated_block, rotated_block,
                                    sizeof(kernels::RotationMemory), stream);
  return cudaLaunchKernelEx(&config, kernels::rotated_sum_kernel, bug, in, out, count);
}
cudaError_t sum_blocks(const float* in, float* out, int blocks, int per_block, cudaStream_t stream) {
  const auto config = configuration(blocks, 128, sizeof(kernels::SumMemory), stream);
  return cudaLaunchKernelEx(&config, kernels::sum_blocks_kernel, in, out, per_block);
}
cudaError_t write_at(float* data, std::int64_t i, float value, cudaStream_t stream) {
  const auto config = configuration(1, 1, 0, stream);
  return cudaLaunchKernelEx(&config, kernels::write_at_kernel, data, i, value);
}
cudaError_t read_at(const float* data, std::int64_t i, float* out, cudaStream_t stream) {
  const auto config = configuration(1, 1, 0, stream);
  return cudaLaunchKernelEx(&config, kernels::read_at_kernel, data, i, out);
}
cudaError_t count_threads(unsigned* out, int blocks, cudaStream_t stream) {
  const auto config = configuration(blocks, 96, 0, stream);
  return cudaLaunchKernelEx(&config, kernels::count_threads_kernel, out);
}
cudaError_t multiply_bf16_fragments(const Fragments* in, float (*out)[4], cudaStream_t stream) {
  const auto config = configuration(1, 32, 0, stream);
  return cudaLaunchKernelEx(&config, kernels::multiply_bf16_kernel, in, out);
}
cudaError_t multiply_tf32_fragments(const Fragments* in, float (*out)[4], cudaStream_t stream) {
  const auto config = configuration(1, 32, 0, stream);
  return cudaLaunchKernelEx(&config, kernels::multiply_tf32_kernel, in, out);
}
cudaError_t load_fragments(const std::uint16_t* matrix, std::uint32_t (*out)[4], bool transpose,
                           cudaStream_t stream) {
  const auto config = configuration(1, 32, sizeof(kernels::MatrixMemory), stream);
  return cudaLaunchKernelEx(&config, kernels::load_fragments_kernel, matrix, out, transpose);
}
cudaError_t exp2_all(const float* in, float* out, int count, cudaStream_t stream) {
  const auto config = configuration((count + 63) / 64, 64, 0, stream);
  return cudaLaunchKernelEx(&config, kernels::exp2_kernel, in, out, count);
}
cudaError_t copy_partly(const float* in, float* out, unsigned valid, cudaStream_t stream) {
  const auto config = configuration(1, 1, sizeof(kernels::CopyMemory), stream);
  return cudaLaunchKernelEx(&config, kernels::copy_partly_kernel, in, out, valid);
}
cudaError_t use_shared_memory(std::size_t bytes, bool ask, cudaStream_t stream) {
  if (ask) {
    const cudaError_t status =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernels::nothing_kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    if (status != cudaSuccess) return status;
  }
  const auto config = configuration(1, 32, bytes, stream);
  return cudaLaunchKernelEx(&config, kernels::nothing_kernel);
}

}  // namespace chorus::cuda_emulation
