#pragma once

#include "ops/dtype.h"

namespace chorus {

// Calls f with a value of the C++ type that `dtype` names; f is usually [&]<typename T>(T) { ... }.
template <typename F>
decltype(auto) visit_float(DType dtype, F&& f) {
  require(dtype == DType::f32 || dtype == DType::bf16, "the CPU backend does not compute in ", name(dtype));
  return dtype == DType::f32 ? f(float{}) : f(bfloat16{});
}

// to = value, rounded. Compilers vectorise the store of a number, but not the copy of a struct.
inline void store(float& to, float value) { to = value; }
inline void store(bfloat16& to, float value) { to.bits = bfloat16(value).bits; }

}  // namespace chorus
