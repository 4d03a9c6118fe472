#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace chorus {

// Products of matrices small enough to stay in the caches, in f32, at the speed of the processor's
// multipliers. They make up attention, whose blocks are too small for a library call each.

inline constexpr std::int64_t lane_count = 16;
inline constexpr std::int64_t row_count = 4;

constexpr std::int64_t whole_lanes(std::int64_t count) {
  return (count + lane_count - 1) / lane_count * lane_count;
}
constexpr std::int64_t whole_rows(std::int64_t count) {
  return (count + row_count - 1) / row_count * row_count;
}

// Element (i, j) at data[i * row_stride + j * column_stride].
struct StridedMatrix {
  const float* data;
  std::int64_t row_stride, column_stride;
};
// Row i of vector c at data[i * row_stride + c * lanes_stride], lane_count floats.
struct LaneMatrix {
  const float* data;
  std::int64_t row_stride, lanes_stride;
};

namespace small_matmul {

// What one register holds by g++ (clang says 16 bytes for all): compilers take wider vectors apart through memory. There are 32
// registers of 64 bytes, 16 of others.
inline constexpr std::int64_t register_floats = __BIGGEST_ALIGNMENT__ / sizeof(float);
inline constexpr std::int64_t registers = register_floats < 16 ? 16 : 32;
using Register = float __attribute__((vector_size(register_floats * sizeof(float))));
inline constexpr std::int64_t parts = lane_count / register_floats;  // of a vector of lanes
// Vectors of lanes whose sums for row_count rows take at most half of the registers.
inline constexpr std::int64_t most_vectors = std::max<std::int64_t>(1, registers / (2 * row_count * parts));

// row_count rows times `vectors` vectors of out. The loops are unrolled for the sums to stay in registers.
template <int vectors>
inline void tile(float* out, std::int64_t out_stride, StridedMatrix a, LaneMatrix b, std::int64_t inner,
                 bool accumulate) {
  constexpr int columns = vectors * parts;
  const auto of_column = [](int c, std::int64_t lanes_stride) {
    return c / parts * lanes_stride + c % parts * register_floats;
  };
  Register sums[row_count][columns] = {};
  for (std::int64_t k = 0; k < inner; ++k) {
    Register right[columns];
#pragma GCC unroll 16
    for (int c = 0; c < columns; ++c) {
      std::memcpy(&right[c], b.data + k * b.row_stride + of_column(c, b.lanes_stride), sizeof(Register));
    }
#pragma GCC unroll 4
    for (int r = 0; r < row_count; ++r) {
      const float left = a.data[r * a.row_stride + k * a.column_stride];
#pragma GCC unroll 16
      for (int c = 0; c < columns; ++c) sums[r][c] += left * right[c];
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < row_count; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < columns; ++c) {
      float* to = out + r * out_stride + of_column(c, lane_count);
      if (accumulate) {
        Register before;
        std::memcpy(&before, to, sizeof(Register));
        sums[r][c] += before;
      }
      std::memcpy(to, &sums[r][c], sizeof(Register));
    }
  }
}

template <int vectors>
inline void rows_of_tiles(float* out, std::int64_t out_stride, StridedMatrix a, LaneMatrix b,
                          std::int64_t rows, std::int64_t inner, bool accumulate) {
  for (std::int64_t r = 0; r < rows; r += row_count) {
    tile<vectors>(out + r * out_stride, out_stride,
                  {a.data + r * a.row_stride, a.row_stride, a.column_stride}, b, inner, accumulate);
  }
}

// All columns from `vectors` at a time down to the rest.
template <int vectors>
inline void columns_of_tiles(float* out, std::int64_t out_stride, StridedMatrix a, LaneMatrix b,
                             std::int64_t rows, std::int64_t inner, std::int64_t left, bool accumulate) {
  for (; left >= vectors; left -= vectors, out += vectors * lane_count, b.data += vectors * b.lanes_stride) {
    rows_of_tiles<vectors>(out, out_stride, a, b, rows, inner, accumulate);
  }
  if constexpr (vectors > 1) {
    columns_of_tiles<vectors - 1>(out, out_stride, a, b, rows, inner, left, accumulate);
  }
}

}  // namespace small_matmul

// out (+)= a b.   a [rows, inner]  b [inner, columns]  out [rows, columns] with `out_stride` between rows;
// rows a multiple of row_count, columns of lane_count.
inline void multiply(float* out, std::int64_t out_stride, StridedMatrix a, LaneMatrix b, std::int64_t rows,
                     std::int64_t inner, std::int64_t columns, bool accumulate) {
  small_matmul::columns_of_tiles<small_matmul::most_vectors>(out, out_stride, a, b, rows, inner,
                                                             columns / lane_count, accumulate);
}

}  // namespace chorus
