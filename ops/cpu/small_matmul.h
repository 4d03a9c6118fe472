#pragma once

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

using Lanes = float __attribute__((vector_size(lane_count * sizeof(float))));

// row_count rows times `vectors` vectors of out; the sums stay in registers.
template <int vectors>
inline void tile(float* out, std::int64_t out_stride, StridedMatrix a, LaneMatrix b, std::int64_t inner,
                 bool accumulate) {
  Lanes sums[row_count][vectors] = {};
  for (std::int64_t k = 0; k < inner; ++k) {
    Lanes right[vectors];
    for (int c = 0; c < vectors; ++c) {
      std::memcpy(&right[c], b.data + k * b.row_stride + c * b.lanes_stride, sizeof(Lanes));
    }
    for (int r = 0; r < row_count; ++r) {
      const float left = a.data[r * a.row_stride + k * a.column_stride];
      for (int c = 0; c < vectors; ++c) sums[r][c] += left * right[c];
    }
  }
  for (int r = 0; r < row_count; ++r) {
    for (int c = 0; c < vectors; ++c) {
      float* to = out + r * out_stride + c * lane_count;
      if (accumulate) {
        Lanes before;
        std::memcpy(&before, to, sizeof(Lanes));
        sums[r][c] += before;
      }
      std::memcpy(to, &sums[r][c], sizeof(Lanes));
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

}  // namespace small_matmul

// out (+)= a b.   a [rows, inner]  b [inner, columns]  out [rows, columns] with `out_stride` between rows;
// rows a multiple of row_count, columns of lane_count.
inline void multiply(float* out, std::int64_t out_stride, StridedMatrix a, LaneMatrix b, std::int64_t rows,
                     std::int64_t inner, std::int64_t columns, bool accumulate) {
  using small_matmul::rows_of_tiles;
  std::int64_t vectors = columns / lane_count;
  for (; vectors >= 4; vectors -= 4, out += 4 * lane_count, b.data += 4 * b.lanes_stride) {
    rows_of_tiles<4>(out, out_stride, a, b, rows, inner, accumulate);
  }
  if (vectors == 3) rows_of_tiles<3>(out, out_stride, a, b, rows, inner, accumulate);
  if (vectors == 2) rows_of_tiles<2>(out, out_stride, a, b, rows, inner, accumulate);
  if (vectors == 1) rows_of_tiles<1>(out, out_stride, a, b, rows, inner, accumulate);
}

}  // namespace chorus
