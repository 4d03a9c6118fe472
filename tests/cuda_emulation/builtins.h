#pragma once

// CUDA's built-in variables and functions: those that kernels use.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "tests/cuda_emulation/device.h"

inline constexpr const uint3& threadIdx = chorus::cuda_emulation::thread_index;
inline constexpr const uint3& blockIdx = chorus::cuda_emulation::block_index;
inline constexpr const dim3& blockDim = chorus::cuda_emulation::block_size;
inline constexpr const dim3& gridDim = chorus::cuda_emulation::grid_size;
inline constexpr int warpSize = 32;

namespace chorus::cuda_emulation {

template <typename T>
[[gnu::no_sanitize("thread")]] inline T shuffle(std::uint32_t mask, T value, int source, Location where) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(std::uint64_t));
  Shuffle exchange{0, 0, source};
  std::memcpy(&exchange.in, &value, sizeof value);
  collective(&shuffle_lanes, &exchange, mask, where);
  T result;
  std::memcpy(&result, &exchange.out, sizeof result);
  return result;
}

inline std::int64_t reduce(std::uint32_t mask, Reduction::Operation operation, std::int64_t value,
                           Location where) {
  Reduction reduction{operation, value, 0};
  collective(&reduce_lanes, &reduction, mask, where);
  return reduction.out;
}

// One OS thread runs all: reading and writing in turn is atomic.
template <typename T, typename Change>
[[gnu::no_sanitize("thread")]] inline T atomically(T* address, Location where, const Change& change) {
  check_atomic(address, sizeof(T), where);
  const T before = *address;
  *address = change(before);
  return before;
}

inline int segment(int lane, int width) { return lane & ~(width - 1); }

inline float exponential(float x) { return std::exp(x); }
inline float logarithm(float x) { return std::log(x); }
inline float sine(float x) { return std::sin(x); }
inline float cosine(float x) { return std::cos(x); }
inline float power(float x, float y) { return std::pow(x, y); }

}  // namespace chorus::cuda_emulation

// Declared by glibc with other meanings.
#define __expf ::chorus::cuda_emulation::exponential
#define __logf ::chorus::cuda_emulation::logarithm
#define __sinf ::chorus::cuda_emulation::sine
#define __cosf ::chorus::cuda_emulation::cosine
#define __powf ::chorus::cuda_emulation::power

// ---- barriers

inline void __syncthreads(
    chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  chorus::cuda_emulation::barrier(0, 0, where);
}
inline int __syncthreads_count(
    int vote, chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  return chorus::cuda_emulation::barrier_with_vote(vote != 0, where).yes;
}
inline int __syncthreads_or(
    int vote, chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  return chorus::cuda_emulation::barrier_with_vote(vote != 0, where).yes > 0;
}
inline int __syncthreads_and(
    int vote, chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  const auto votes = chorus::cuda_emulation::barrier_with_vote(vote != 0, where);
  return votes.yes == votes.all;
}
inline void __syncwarp(unsigned mask = 0xffffffffU,
                       chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  chorus::cuda_emulation::collective(&chorus::cuda_emulation::synchronize_warp, nullptr, mask, where);
}
// Blocks and lanes run one after another: every write is seen by whoever runs next.
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- exchange between the lanes of a warp

template <typename T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32,
                     chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  using namespace chorus::cuda_emulation;
  const int own = static_cast<int>(lane());
  return shuffle(mask, value, segment(own, width) | (source & (width - 1)), where);
}
template <typename T>
inline T __shfl_xor_sync(
    unsigned mask, T value, int bits, int width = 32,
    chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  using namespace chorus::cuda_emulation;
  const int own = static_cast<int>(lane()), source = own ^ bits;
  // A lane may read from a segment before its own, not from one after.
  return shuffle(mask, value, segment(source, width) > segment(own, width) ? own : source, where);
}
template <typename T>
inline T __shfl_down_sync(
    unsigned mask, T value, unsigned distance, int width = 32,
    chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  using namespace chorus::cuda_emulation;
  const int own = static_cast<int>(lane()), source = own + static_cast<int>(distance);
  return shuffle(mask, value, segment(source, width) != segment(own, width) ? own : source, where);
}
template <typename T>
inline T __shfl_up_sync(
    unsigned mask, T value, unsigned distance, int width = 32,
    chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  using namespace chorus::cuda_emulation;
  const int own = static_cast<int>(lane()), source = own - static_cast<int>(distance);
  return shuffle(mask, value, source < segment(own, width) ? own : source, where);
}
inline unsigned __ballot_sync(
    unsigned mask, int vote,
    chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  chorus::cuda_emulation::Ballot ballot{vote != 0, 0};
  chorus::cuda_emulation::collective(&chorus::cuda_emulation::count_ballots, &ballot, mask, where);
  return ballot.votes;
}
inline int __any_sync(unsigned mask, int vote,
                      chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  return __ballot_sync(mask, vote, where) != 0;
}
inline int __all_sync(unsigned mask, int vote,
                      chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  return __ballot_sync(mask, vote, where) == mask;
}
template <typename T>
inline T __reduce_add_sync(
    unsigned mask, T value,
    chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  using namespace chorus::cuda_emulation;
  return static_cast<T>(reduce(mask, Reduction::Operation::add, value, where));
}
template <typename T>
inline T __reduce_min_sync(
    unsigned mask, T value,
    chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  using namespace chorus::cuda_emulation;
  return static_cast<T>(reduce(mask, Reduction::Operation::minimum, value, where));
}
template <typename T>
inline T __reduce_max_sync(
    unsigned mask, T value,
    chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  using namespace chorus::cuda_emulation;
  return static_cast<T>(reduce(mask, Reduction::Operation::maximum, value, where));
}
inline unsigned __reduce_and_sync(
    unsigned mask, unsigned value,
    chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  using namespace chorus::cuda_emulation;
  return static_cast<unsigned>(reduce(mask, Reduction::Operation::bit_and, value, where));
}
inline unsigned __reduce_or_sync(
    unsigned mask, unsigned value,
    chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  using namespace chorus::cuda_emulation;
  return static_cast<unsigned>(reduce(mask, Reduction::Operation::bit_or, value, where));
}
inline unsigned __reduce_xor_sync(
    unsigned mask, unsigned value,
    chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  using namespace chorus::cuda_emulation;
  return static_cast<unsigned>(reduce(mask, Reduction::Operation::bit_xor, value, where));
}

// ---- atomics

template <typename T>
inline T atomicAdd(T* address, std::type_identity_t<T> value,
                   chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  return chorus::cuda_emulation::atomically(address, where,
                                            [value](T before) { return static_cast<T>(before + value); });
}
template <typename T>
inline T atomicMax(T* address, std::type_identity_t<T> value,
                   chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  static_assert(std::is_integral_v<T>);
  return chorus::cuda_emulation::atomically(address, where,
                                            [value](T before) { return std::max(before, value); });
}
template <typename T>
inline T atomicMin(T* address, std::type_identity_t<T> value,
                   chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  static_assert(std::is_integral_v<T>);
  return chorus::cuda_emulation::atomically(address, where,
                                            [value](T before) { return std::min(before, value); });
}
template <typename T>
inline T atomicExch(T* address, std::type_identity_t<T> value,
                    chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  return chorus::cuda_emulation::atomically(address, where, [value](T) { return value; });
}
template <typename T>
inline T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value,
                   chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  static_assert(std::is_integral_v<T>);
  return chorus::cuda_emulation::atomically(
      address, where, [expected, value](T before) { return before == expected ? value : before; });
}

// ---- arithmetic

inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
inline float __frsqrt_rn(float x) { return 1.0F / std::sqrt(x); }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0F / a; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) {
  return std::fma(a, 1.0F, b);
}  // not contracted into a caller's product
inline float __fsub_rn(float a, float b) { return std::fma(a, 1.0F, -b); }
inline float __fmul_rn(float a, float b) { return std::fma(a, b, -0.0F); }
inline float __saturatef(float x) { return x > 0 ? std::min(x, 1.0F) : 0.0F; }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __ull2float_rn(unsigned long long x) { return static_cast<float>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(a) * b) >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
// Byte i of the result is the one of `low` and `high` that digit i of `selector` names.
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
  const std::uint64_t bytes = static_cast<std::uint64_t>(high) << 32 | low;
  unsigned result = 0;
  for (unsigned i = 0; i < 4; ++i)
    result |= static_cast<unsigned>(bytes >> (8 * (selector >> (4 * i) & 7)) & 0xff) << (8 * i);
  return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>(((static_cast<std::uint64_t>(high) << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(high) << 32 | low) >> (shift & 31));
}

template <typename T>
concept CudaNumber = std::is_arithmetic_v<T>;
template <CudaNumber T>
constexpr T min(T a, T b) {
  return a < b ? a : b;
}
template <CudaNumber T>
constexpr T max(T a, T b) {
  return a > b ? a : b;
}

// ---- memory

template <typename T>
inline T __ldg(const T* address) {
  return *address;
}
template <typename T>
inline T __ldcs(const T* address) {
  return *address;
}
template <typename T>
inline void __stcs(T* address, std::type_identity_t<T> value) {
  *address = value;
}
inline std::size_t __cvta_generic_to_shared(
    const void* pointer,
    chorus::cuda_emulation::Location where = chorus::cuda_emulation::Location::current()) {
  return chorus::cuda_emulation::shared_offset(pointer, where);
}
