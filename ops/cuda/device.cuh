#pragma once

// The only CUDA header a kernel file includes. nvcc compiles kernels for GPUs; the host's compiler compiles
// the same lines against the emulation in tests/, which brings the built-ins and the macro below.
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#ifdef __CUDACC__
// One PTX instruction: its text, then its operands (outputs), (inputs). CHORUS_F is a float, CHORUS_R 32
// bits, CHORUS_L an address, CHORUS_N a constant; _IO is read and written.
#define CHORUS_LIST(...) __VA_ARGS__
#define CHORUS_F_IO(x) "+f"(x)
#define CHORUS_F_O(x) "=f"(x)
#define CHORUS_F_I(x) "f"(x)
#define CHORUS_R_O(x) "=r"(x)
#define CHORUS_R_I(x) "r"(x)
#define CHORUS_L_I(x) "l"(x)
#define CHORUS_N_I(x) "n"(x)
#define CHORUS_PTX(text, outputs, inputs) \
  asm volatile(text : CHORUS_LIST outputs : CHORUS_LIST inputs : "memory")

namespace chorus::cuda {

__device__ __forceinline__ void* dynamic_shared_memory() {
  extern __shared__ __align__(128) unsigned char memory[];
  return memory;
}
__device__ __forceinline__ void check_vector_access(const void*, std::size_t, bool) {}

}  // namespace chorus::cuda
#else
#include <cuda_emulation.h>
#endif

namespace chorus::cuda {

// The block's whole shared memory as one struct; the launcher passes its size.
template <typename Memory>
__device__ __forceinline__ Memory& shared_memory() {
  return *static_cast<Memory*>(dynamic_shared_memory());
}

__device__ __forceinline__ std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

// 4-, 8- and 16-byte accesses: the only way kernels touch memory in vectors. The access is one of an integer
// vector type, since nvcc splits a load of a struct of __nv_bfloat162 into its members, whatever its
// alignment.
template <int bytes>
struct VectorOf;
template <>
struct VectorOf<4> {
  using type = unsigned;
};
template <>
struct VectorOf<8> {
  using type = uint2;
};
template <>
struct VectorOf<16> {
  using type = uint4;
};

template <typename Vector>
__device__ __forceinline__ Vector load_vector(const void* p) {
  using Word = typename VectorOf<sizeof(Vector)>::type;
  check_vector_access(p, sizeof(Vector), false);
  const Word word = *static_cast<const Word*>(p);
  Vector value;
  memcpy(static_cast<void*>(&value), &word, sizeof value);
  return value;
}
template <typename Vector>
__device__ __forceinline__ void store_vector(void* p, const Vector& value) {
  using Word = typename VectorOf<sizeof(Vector)>::type;
  check_vector_access(p, sizeof(Vector), true);
  Word word;
  memcpy(&word, static_cast<const void*>(&value), sizeof word);
  *static_cast<Word*>(p) = word;
}

// `count` neighbouring elements as floats, in accesses of up to 16 bytes, to which `from` must be aligned.
template <int count, typename T>
__device__ __forceinline__ void load_floats(float (&to)[count], const T* from) {
  if constexpr (count == 1) {
    to[0] = static_cast<float>(*from);
  } else {
    constexpr int elements = count * sizeof(T) <= 16 ? count : static_cast<int>(16 / sizeof(T));
    struct Vector {
      T element[elements];
    };
#pragma unroll
    for (int i = 0; i < count; i += elements) {
      const auto vector = load_vector<Vector>(from + i);
#pragma unroll
      for (int j = 0; j < elements; ++j) to[i + j] = static_cast<float>(vector.element[j]);
    }
  }
}
// The same the other way, each rounded to T.
template <int count, typename T>
__device__ __forceinline__ void store_floats(T* to, const float (&from)[count]) {
  if constexpr (count == 1) {
    *to = static_cast<T>(from[0]);
  } else {
    constexpr int elements = count * sizeof(T) <= 16 ? count : static_cast<int>(16 / sizeof(T));
    struct Vector {
      T element[elements];
    };
#pragma unroll
    for (int i = 0; i < count; i += elements) {
      Vector vector;
#pragma unroll
      for (int j = 0; j < elements; ++j) vector.element[j] = static_cast<T>(from[i + j]);
      store_vector(to + i, vector);
    }
  }
}

template <int value>
using Width = std::integral_constant<int, value>;

// All threads of the grid together call f(Width, i) for the packs of `width` elements, of which each begins
// at i, and one by one for what is left of `count` at the end.
template <int width, typename F>
__device__ __forceinline__ void for_each_pack(std::int64_t count, const F& f) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  const std::int64_t packs = count / width;
  for (std::int64_t pack = thread; pack < packs; pack += threads) f(Width<width>{}, pack * width);
  if constexpr (width > 1) {
    for (std::int64_t i = packs * width + thread; i < count; i += threads) f(Width<1>{}, i);
  }
}
// The threads of a block together call f(i) for all multiples i of `width` below `columns`, itself such a
// multiple.
template <int width, typename F>
__device__ __forceinline__ void for_each_in_row(std::int64_t columns, const F& f) {
  const std::int64_t step = static_cast<std::int64_t>(blockDim.x) * width;
  for (std::int64_t i = static_cast<std::int64_t>(threadIdx.x) * width; i < columns; i += step) f(i);
}

inline constexpr unsigned full_warp = 0xffffffffU;

template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance >>= 1) value += __shfl_xor_sync(full_warp, value, distance);
  return value;
}
__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance >>= 1)
    value = fmaxf(value, __shfl_xor_sync(full_warp, value, distance));
  return value;
}

// What warp_reduce makes of the values of all the block's warps, in every thread; absent warps count as
// `neutral`. `partial` is shared memory for one T per warp. Contains two barriers.
template <typename T, typename F>
__device__ __forceinline__ T block_reduce(T value, T neutral, T* partial, const F& warp_reduce) {
  value = warp_reduce(value);
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  __syncthreads();  // an earlier call may still be reading
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  return warp_reduce(lane < warps ? partial[lane] : neutral);
}
template <typename T>
__device__ __forceinline__ T block_sum(T value, T* partial) {
  return block_reduce(value, T{}, partial, [](T x) { return warp_sum(x); });
}
__device__ __forceinline__ float block_max(float value, float* partial) {
  return block_reduce(value, -std::numeric_limits<float>::infinity(), partial,
                      [](float x) { return warp_max(x); });
}

}  // namespace chorus::cuda
