#pragma once

#include <initializer_list>

#include "ops/cuda/device.cuh"
#include "ops/tensor.h"

namespace chorus::cuda {

// Calls f with a value of the device's type of `dtype`; f is usually [&]<typename T>(T) { ... }.
template <typename F>
decltype(auto) visit_float(DType dtype, F&& f) {
  require(dtype == DType::f32 || dtype == DType::bf16, "the CUDA backend does not compute in ", name(dtype));
  return dtype == DType::f32 ? f(float{}) : f(__nv_bfloat16{});
}

// Calls f with Width: the number of elements of type T that threads should take at a time. That is as many as
// fill 16 bytes where `addresses` are aligned to that and `columns` is a multiple (any number for those who
// take the rest one by one: 0), else 1.
template <typename T, typename F>
decltype(auto) visit_width(std::int64_t columns, std::initializer_list<const void*> addresses, F&& f) {
  constexpr int full = static_cast<int>(16 / sizeof(T));
  bool fits = columns % full == 0;
  for (const void* address : addresses) fits = fits && reinterpret_cast<std::uintptr_t>(address) % 16 == 0;
  return fits ? f(Width<full>{}) : f(Width<1>{});
}

// The elements of a float tensor in the device's type.
template <typename T>
const T* elements(ConstTensor x) {
  constexpr DType dtype = std::is_same_v<T, float> ? DType::f32 : DType::bf16;
  require(x.dtype() == dtype, "tensor of ", name(x.dtype()), " read as ", name(dtype));
  return static_cast<const T*>(x.address());
}
template <typename T>
T* elements(Tensor x) {
  return const_cast<T*>(elements<T>(ConstTensor(x)));
}

}  // namespace chorus::cuda
