#include "ops/tensor.h"

#include <algorithm>

namespace chorus {

Shape::Shape(std::initializer_list<std::int64_t> extents) : rank_(static_cast<int>(extents.size())) {
  require(extents.size() <= extents_.size(), "a shape has at most 4 dims, not ", extents.size());
  std::copy(extents.begin(), extents.end(), extents_.begin());
}

std::int64_t Shape::operator[](int dim) const {
  const int index = dim < 0 ? dim + rank_ : dim;
  require(index >= 0 && index < rank_, "dim ", dim, " of shape ", *this);
  return extents_[static_cast<std::size_t>(index)];
}

std::int64_t Shape::elements() const {
  std::int64_t product = 1;
  for (int i = 0; i < rank_; ++i) product *= extents_[static_cast<std::size_t>(i)];
  return product;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int i = 0; i < shape.rank(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

ConstTensor ConstTensor::view(const Shape& shape, std::int64_t byte_offset) const {
  require(byte_offset > 0 || shape.elements() <= elements(), shape_, " viewed as ", shape);
  return {dtype_, shape, static_cast<char*>(data_) + byte_offset};
}

ConstTensor ConstTensor::view_rows(std::int64_t begin, std::int64_t end) const {
  require(0 <= begin && begin <= end && end <= dim(0), "rows ", begin, " to ", end, " of ", shape_);
  const std::int64_t per_row = dim(0) == 0 ? 0 : elements() / dim(0);
  const std::int64_t offset = begin * per_row * bytes_per_element(dtype_);
  const std::int64_t n = end - begin;
  switch (shape_.rank()) {
    case 1:
      return {dtype_, Shape{n}, static_cast<char*>(data_) + offset};
    case 2:
      return {dtype_, Shape{n, dim(1)}, static_cast<char*>(data_) + offset};
    case 3:
      return {dtype_, Shape{n, dim(1), dim(2)}, static_cast<char*>(data_) + offset};
    default:
      return {dtype_, Shape{n, dim(1), dim(2), dim(3)}, static_cast<char*>(data_) + offset};
  }
}

}  // namespace chorus
