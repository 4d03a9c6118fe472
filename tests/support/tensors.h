#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ops/backend.h"
#include "ops/base/random.h"

namespace chorus {

// An array of any element type in host memory, read and written as double.
class HostTensor {
 public:
  HostTensor() = default;
  // Zeros.
  HostTensor(DType dtype, const Shape& shape)
      : dtype_(dtype),
        shape_(shape),
        memory_(static_cast<std::size_t>(shape.elements() * bytes_per_element(dtype))) {}

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::int64_t elements() const { return shape_.elements(); }
  void* data() { return memory_.data(); }
  const void* data() const { return memory_.data(); }

  double at(std::int64_t index) const {
    switch (dtype_) {
      case DType::f32:
        return static_cast<double>(get<float>(index));
      case DType::bf16:
        return static_cast<double>(get<bfloat16>(index));
      case DType::f64:
        return get<double>(index);
      case DType::u8:
        return static_cast<double>(get<std::uint8_t>(index));
      case DType::i32:
        return static_cast<double>(get<std::int32_t>(index));
      case DType::i64:
        return static_cast<double>(get<std::int64_t>(index));
    }
    return 0;
  }
  // Rounds to the element type.
  void set(std::int64_t index, double value) {
    switch (dtype_) {
      case DType::f32:
        return put(index, static_cast<float>(value));
      case DType::bf16:
        return put(index, bfloat16(value));
      case DType::f64:
        return put(index, value);
      case DType::u8:
        return put(index, static_cast<std::uint8_t>(value));
      case DType::i32:
        return put(index, static_cast<std::int32_t>(value));
      case DType::i64:
        return put(index, static_cast<std::int64_t>(value));
    }
  }
  bool same_bits(const HostTensor& other) const {
    return dtype_ == other.dtype_ && shape_ == other.shape_ && memory_ == other.memory_;
  }

 private:
  template <typename T>
  T get(std::int64_t index) const {
    T value;
    std::memcpy(&value, memory_.data() + static_cast<std::size_t>(index) * sizeof(T), sizeof(T));
    return value;
  }
  template <typename T>
  void put(std::int64_t index, T value) {
    std::memcpy(memory_.data() + static_cast<std::size_t>(index) * sizeof(T), &value, sizeof(T));
  }

  DType dtype_ = DType::f32;
  Shape shape_{0};
  std::vector<std::byte> memory_;
};

// Uniform in [low, high), rounded to the type; every seed gives other values.
inline HostTensor random_tensor(DType dtype, const Shape& shape, std::uint64_t seed, double low = -1,
                                double high = 1) {
  HostTensor x(dtype, shape);
  for (std::int64_t i = 0; i < x.elements(); ++i) {
    const std::uint32_t word = random_word(seed, RandomUse::initial_value, 0, static_cast<std::uint64_t>(i));
    x.set(i, low + (high - low) * static_cast<double>(uniform(word)));
  }
  return x;
}

inline HostTensor values(DType dtype, const Shape& shape, const std::vector<double>& list) {
  HostTensor x(dtype, shape);
  require(static_cast<std::int64_t>(list.size()) == x.elements(), list.size(), " values for ",
          to_string(shape));
  for (std::int64_t i = 0; i < x.elements(); ++i) x.set(i, list[static_cast<std::size_t>(i)]);
  return x;
}

inline HostTensor random_codes(const Shape& shape, std::uint64_t seed) {
  HostTensor x(DType::u8, shape);
  for (std::int64_t i = 0; i < x.elements(); ++i)
    x.set(i, random_word(seed, RandomUse::initial_value, 0, static_cast<std::uint64_t>(i)) >> 24);
  return x;
}

template <typename Integer>
HostTensor integers(DType dtype, const std::vector<Integer>& list) {
  HostTensor x(dtype, {static_cast<std::int64_t>(list.size())});
  for (std::int64_t i = 0; i < x.elements(); ++i)
    x.set(i, static_cast<double>(list[static_cast<std::size_t>(i)]));
  return x;
}

inline HostTensor converted(const HostTensor& x, DType dtype) {
  HostTensor out(dtype, x.shape());
  for (std::int64_t i = 0; i < x.elements(); ++i) out.set(i, x.at(i));
  return out;
}

// The largest relative error of one rounding to nearest: half the distance of neighbours of 1.
inline double rounding(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return 0x1p-24;
    case DType::bf16:
      return 0x1p-8;
    default:
      return 0x1p-53;
  }
}

// |actual - expected| <= absolute + relative · |expected| everywhere; equal infinities are near, NaN never
// is.
inline ::testing::AssertionResult is_near(const HostTensor& actual, const HostTensor& expected,
                                          double absolute, double relative = 0) {
  if (!(actual.shape() == expected.shape())) {
    return ::testing::AssertionFailure()
           << "shape " << to_string(actual.shape()) << " instead of " << to_string(expected.shape());
  }
  std::int64_t first = -1, count = 0;
  double worst = 0;
  for (std::int64_t i = 0; i < expected.elements(); ++i) {
    const double a = actual.at(i), e = expected.at(i);
    const bool near = a == e || std::abs(a - e) <= absolute + relative * std::abs(e);
    if (near) continue;
    if (first < 0) first = i;
    ++count;
    const double error = std::abs(a - e) / std::max(std::abs(e), std::numeric_limits<double>::min());
    worst = std::isnan(error) || std::isnan(worst) ? std::numeric_limits<double>::quiet_NaN()
                                                   : std::max(worst, error);
  }
  if (first < 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << fmt::format(
             "{} of {} elements of {} {} differ. The first is element {}: {:.9g} instead of {:.9g} (absolute "
             "tolerance "
             "{:.3g}, relative {:.3g}). The largest relative error is {:.3g}",
             count, expected.elements(), name(actual.dtype()), to_string(actual.shape()), first,
             actual.at(first), expected.at(first), absolute, relative, worst);
}

inline ::testing::AssertionResult is_same(const HostTensor& actual, const HostTensor& expected) {
  if (actual.same_bits(expected)) return ::testing::AssertionSuccess();
  const auto result = is_near(actual, expected, 0);
  return result ? ::testing::AssertionFailure() << "equal values, but of other bits or type" : result;
}

// A tensor in a backend's memory that owns it.
class DeviceTensor {
 public:
  DeviceTensor(Backend& backend, const HostTensor& values)
      : backend_(&backend),
        buffer_(backend.allocate(values.elements() * bytes_per_element(values.dtype()))),
        view_(values.dtype(), values.shape(), buffer_.data()) {
    backend.upload(view_, values.data());
  }
  DeviceTensor(Backend& backend, DType dtype, const Shape& shape)
      : DeviceTensor(backend, HostTensor(dtype, shape)) {}

  Tensor view() const { return view_; }
  operator Tensor() const { return view_; }
  HostTensor download() const {
    HostTensor values(view_.dtype(), view_.shape());
    backend_->download(values.data(), view_);
    return values;
  }

 private:
  Backend* backend_;
  Buffer buffer_;
  Tensor view_;
};

}  // namespace chorus
