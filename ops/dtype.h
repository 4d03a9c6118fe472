#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "ops/base/error.h"
#include "ops/bfloat16.h"

namespace chorus {

// f64 exists for the reference computation of the tests; no released backend computes in it.
enum class DType { f32, bf16, f64, u8, i32, i64 };

std::string_view name(DType dtype);
std::int64_t bytes_per_element(DType dtype);

// The type in which statistics, gradients, optimizer state and master weights of a computation are held.
constexpr DType accumulator(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

template <typename T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  if constexpr (std::is_same_v<T, bfloat16>) return DType::bf16;
  if constexpr (std::is_same_v<T, double>) return DType::f64;
  if constexpr (std::is_same_v<T, std::uint8_t>) return DType::u8;
  if constexpr (std::is_same_v<T, std::int32_t>) return DType::i32;
  if constexpr (std::is_same_v<T, std::int64_t>) return DType::i64;
}

}  // namespace chorus
