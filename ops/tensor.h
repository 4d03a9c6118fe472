#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "ops/dtype.h"

namespace chorus {

// Up to four extents of a dense row-major array, the slowest first.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents);

  int rank() const { return rank_; }
  std::int64_t operator[](int dim) const;  // negative dims count from the end
  std::int64_t elements() const;
  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, 4> extents_{};
  int rank_ = 0;
};

std::string to_string(const Shape& shape);  // "[2, 3]"

// A read-only view of a dense row-major array in the memory of some backend. Copying copies the view.
class ConstTensor {
 public:
  ConstTensor() = default;
  ConstTensor(DType dtype, const Shape& shape, void* data) : dtype_(dtype), shape_(shape), data_(data) {}

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::int64_t dim(int dim) const { return shape_[dim]; }
  std::int64_t elements() const { return shape_.elements(); }
  std::int64_t bytes() const { return elements() * bytes_per_element(dtype_); }
  bool empty() const { return elements() == 0; }

  // Throws unless T is the element type. Only a backend may follow the pointer.
  template <typename T>
  const T* data() const {
    require(dtype_of<T>() == dtype_, "tensor of ", name(dtype_), " read as ", name(dtype_of<T>()));
    return static_cast<const T*>(data_);
  }
  const void* address() const { return data_; }

  ConstTensor reshape(const Shape& shape) const { return view(shape, 0); }
  ConstTensor rows(std::int64_t begin, std::int64_t end) const { return view_rows(begin, end); }

 protected:
  ConstTensor view(const Shape& shape, std::int64_t byte_offset) const;
  ConstTensor view_rows(std::int64_t begin, std::int64_t end) const;

  DType dtype_ = DType::f32;
  Shape shape_{0};
  void* data_ = nullptr;
};

// A view through which elements may be written. In a signature Tensor is an output, ConstTensor an input.
class Tensor : public ConstTensor {
 public:
  using ConstTensor::ConstTensor;

  template <typename T>
  T* data() const {
    require(dtype_of<T>() == dtype_, "tensor of ", name(dtype_), " written as ", name(dtype_of<T>()));
    return static_cast<T*>(data_);
  }
  void* address() const { return data_; }

  Tensor reshape(const Shape& shape) const { return Tensor(view(shape, 0)); }
  Tensor rows(std::int64_t begin, std::int64_t end) const { return Tensor(view_rows(begin, end)); }

 private:
  explicit Tensor(const ConstTensor& other) : ConstTensor(other) {}
};

}  // namespace chorus

// Lets require() take a shape itself, which is then written only where the condition fails.
template <>
struct fmt::formatter<chorus::Shape> : fmt::formatter<std::string> {
  template <typename Context>
  auto format(const chorus::Shape& shape, Context& context) const {
    return fmt::formatter<std::string>::format(chorus::to_string(shape), context);
  }
};
