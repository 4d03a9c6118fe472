#include <array>
#include <cstring>

#include "ops/cpu/cpu_backend.h"
#include "ops/cpu/parallel_for.h"
#include "ops/cpu/visit_float.h"

namespace chorus {

namespace {

constexpr std::int64_t block = QuantisedMatrix::block;

template <typename T>
void read_int8_row(T* out, const std::uint8_t* codes, float scale, std::int64_t columns) {
#pragma omp simd
  for (std::int64_t i = 0; i < columns; ++i)
    store(out[i], static_cast<float>(static_cast<std::int8_t>(codes[i])) * scale);
}

// What each byte of codes means: two levels, which are looked up at once.
using Pairs = std::array<std::array<float, 2>, 256>;

Pairs pairs_of(const float* levels) {
  Pairs pairs;
  for (std::size_t byte = 0; byte < pairs.size(); ++byte)
    pairs[byte] = {levels[byte >> 4U], levels[byte & 15U]};
  return pairs;
}

template <typename T>
void read_nf4_block(T* out, const std::uint8_t* codes, const Pairs& pairs, float absmax) {
  std::array<float, block> level;
  for (std::size_t i = 0; i < block / 2; ++i) std::memcpy(&level[2 * i], &pairs[codes[i]], sizeof pairs[0]);
#pragma omp simd
  for (std::size_t i = 0; i < block; ++i) store(out[i], level[i] * absmax);
}

}  // namespace

void CpuBackend::dequantise(Tensor out, const QuantisedMatrix& matrix) {
  const std::int64_t columns = matrix.columns();
  const auto* codes = matrix.codes.data<std::uint8_t>();
  const auto* scales = matrix.scales.data<float>();
  visit_float(out.dtype(), [&]<typename T>(T) {
    T* to = out.data<T>();
    const auto each_row = [&](const auto& read_row) {
      parallel_chunks(threads_, matrix.rows(), rows_per_chunk(columns),
                      [&](std::int64_t begin, std::int64_t end) {
                        for (std::int64_t row = begin; row < end; ++row) read_row(row);
                      });
    };
    if (matrix.kind == Quantisation::int8) {
      return each_row([&](std::int64_t row) {
        read_int8_row(to + row * columns, codes + row * columns, scales[row], columns);
      });
    }
    const auto* scale_codes = matrix.scale_codes.data<std::uint8_t>();
    const Pairs pairs = pairs_of(matrix.levels.data<float>());
    const float* dynamic = matrix.levels.data<float>() + QuantisedMatrix::normal_levels;
    const std::int64_t row_blocks = columns / block;
    each_row([&](std::int64_t row) {
      for (std::int64_t i = 0; i < row_blocks; ++i) {
        const std::int64_t own = row * row_blocks + i;
        const std::int64_t group =
            (matrix.first_block + row * matrix.row_stride + i) / QuantisedMatrix::blocks_per_group;
        const float absmax = scales[1 + group] * dynamic[scale_codes[own]] + scales[0];
        read_nf4_block(to + own * block, codes + own * (block / 2), pairs, absmax);
      }
    });
  });
}

}  // namespace chorus
