#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ops/quantised.h"

namespace chorus {

// Rows of a matrix as levels, the numbers that codes stand for, and the scales of blocks of them: w = level · scale.
class Int8Rows {
 public:
  explicit Int8Rows(const QuantisedMatrix& matrix)
      : codes_(matrix.codes.data<std::uint8_t>()),
        scales_(matrix.scales.data<float>()),
        columns_(matrix.columns()) {}

  // Of columns [first, first + count), which begin and end with a block.
  void levels(float* to, std::int64_t row, std::int64_t first, std::int64_t count) const {
    const std::uint8_t* codes = codes_ + row * columns_ + first;
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(static_cast<std::int8_t>(codes[i]));
  }
  // f(i, length, scale) of the blocks of such columns, i from `first` on. All have the scale of the row: they are as long as
  // compilers like loops.
  template <typename F>
  void each_block(std::int64_t row, std::int64_t, std::int64_t count, const F& f) const {
    constexpr std::integral_constant<std::int64_t, 64> length;
    constexpr std::integral_constant<std::int64_t, columns_multiple(Quantisation::int8)> least;
    std::int64_t i = 0;
    for (; i + length <= count; i += length) f(i, length, scales_[row]);
    for (; i < count; i += least) f(i, least, scales_[row]);
  }

 private:
  const std::uint8_t* codes_;
  const float* scales_;
  std::int64_t columns_;
};

class Nf4Rows {
 public:
  explicit Nf4Rows(const QuantisedMatrix& matrix)
      : matrix_(matrix),
        codes_(matrix.codes.data<std::uint8_t>()),
        scale_codes_(matrix.scale_codes.data<std::uint8_t>()),
        scales_(matrix.scales.data<float>()),
        dynamic_(matrix.levels.data<float>() + QuantisedMatrix::normal_levels) {
    const float* normal = matrix.levels.data<float>();
    for (std::size_t byte = 0; byte < pairs_.size(); ++byte)
      pairs_[byte] = {normal[byte >> 4U], normal[byte & 15U]};
  }

  void levels(float* to, std::int64_t row, std::int64_t first, std::int64_t count) const {
    const std::uint8_t* codes = codes_ + (row * matrix_.columns() + first) / 2;
    for (std::int64_t i = 0; i < count / 2; ++i) std::memcpy(to + 2 * i, &pairs_[codes[i]], sizeof pairs_[0]);
  }
  template <typename F>
  void each_block(std::int64_t row, std::int64_t first, std::int64_t count, const F& f) const {
    constexpr std::integral_constant<std::int64_t, QuantisedMatrix::block> length;
    for (std::int64_t i = 0; i < count; i += length) f(i, length, scale(row, (first + i) / length));
  }

 private:
  float scale(std::int64_t row, std::int64_t block) const {
    const std::int64_t group =
        (matrix_.first_block + row * matrix_.row_stride + block) / QuantisedMatrix::blocks_per_group;
    const std::uint8_t code = scale_codes_[row * (matrix_.columns() / QuantisedMatrix::block) + block];
    return scales_[1 + group] * dynamic_[code] + scales_[0];
  }

  const QuantisedMatrix& matrix_;
  const std::uint8_t *codes_, *scale_codes_;
  const float *scales_, *dynamic_;
  std::array<std::array<float, 2>, 256>
      pairs_;  // what each byte of codes means: two levels, which are looked up at once
};

// Calls f with the rows of the matrix, of either class.
template <typename F>
void visit_rows(const QuantisedMatrix& matrix, F&& f) {
  matrix.kind == Quantisation::int8 ? f(Int8Rows(matrix)) : f(Nf4Rows(matrix));
}

}  // namespace chorus
