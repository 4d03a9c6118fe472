#include <algorithm>

#include <cuda_fp16.h>

#include "tests/cuda_emulation/nccl_emulation.h"
#include "tests/cuda_emulation/report.h"

namespace chorus::cuda_emulation {
namespace {

template <typename T>
T combined(T a, T b, ncclRedOp_t reduction) {
  switch (reduction) {
    case ncclMax:
      return std::max(a, b);
    case ncclMin:
      return std::min(a, b);
    case ncclProd:
      return static_cast<T>(a * b);
    default:
      return static_cast<T>(a + b);
  }
}

template <typename T>
void combine_as(void* into, const void* other, std::size_t count, ncclRedOp_t reduction) {
  auto* a = static_cast<T*>(into);
  const auto* b = static_cast<const T*>(other);
  for (std::size_t i = 0; i < count; ++i) a[i] = combined(a[i], b[i], reduction);
}

template <typename T, float (*widen)(T), T (*round)(float)>
void combine_halves(void* into, const void* other, std::size_t count, ncclRedOp_t reduction) {
  auto* a = static_cast<T*>(into);
  const auto* b = static_cast<const T*>(other);
  for (std::size_t i = 0; i < count; ++i) a[i] = round(combined(widen(a[i]), widen(b[i]), reduction));
}

}  // namespace

std::size_t bytes_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
    case ncclFloat8e4m3:
    case ncclFloat8e5m2:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    default:
      return 8;
  }
}

void combine(void* into, const void* other, std::size_t count, ncclDataType_t type, ncclRedOp_t reduction) {
  switch (type) {
    case ncclFloat32:
      return combine_as<float>(into, other, count, reduction);
    case ncclFloat64:
      return combine_as<double>(into, other, count, reduction);
    case ncclInt8:
      return combine_as<std::int8_t>(into, other, count, reduction);
    case ncclUint8:
      return combine_as<std::uint8_t>(into, other, count, reduction);
    case ncclInt32:
      return combine_as<std::int32_t>(into, other, count, reduction);
    case ncclUint32:
      return combine_as<std::uint32_t>(into, other, count, reduction);
    case ncclInt64:
      return combine_as<std::int64_t>(into, other, count, reduction);
    case ncclUint64:
      return combine_as<std::uint64_t>(into, other, count, reduction);
    case ncclBfloat16:
      return combine_halves<__nv_bfloat16, __bfloat162float, __float2bfloat16_rn>(into, other, count,
                                                                                  reduction);
    case ncclFloat16:
      return combine_halves<__half, __half2float, __float2half_rn>(into, other, count, reduction);
    default:
      report(Location::current(), "NCCL: type {} is not emulated", static_cast<int>(type));
  }
}

void divide(void* values, std::size_t count, ncclDataType_t type, int divisor) {
  const auto by = static_cast<float>(divisor);
  for (std::size_t i = 0; i < count; ++i) {
    if (type == ncclFloat32) {
      static_cast<float*>(values)[i] /= by;
    } else if (type == ncclFloat64) {
      static_cast<double*>(values)[i] /= divisor;
    } else if (type == ncclBfloat16) {
      auto& value = static_cast<__nv_bfloat16*>(values)[i];
      value = __float2bfloat16_rn(__bfloat162float(value) / by);
    } else {
      report(Location::current(), "NCCL: averages of type {} are not emulated", static_cast<int>(type));
    }
  }
}

}  // namespace chorus::cuda_emulation
