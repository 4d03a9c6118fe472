#include <algorithm>
#include <array>

#include "ops/cpu/cpu_backend.h"
#include "ops/cpu/parallel_for.h"
#include "ops/cpu/quantised_rows.h"
#include "ops/cpu/visit_float.h"
#include "ops/quantised_composed.h"

namespace chorus {

namespace {

// Columns whose levels stay in a core's first cache: whole blocks.
constexpr std::int64_t run = 512;
// A product of at most so many rows reads codes in place of weights; the library is faster with more.
constexpr std::int64_t few_rows = 4;

template <typename T, typename Rows>
void read_row(T* to, const Rows& rows, std::int64_t row, std::int64_t columns) {
  std::array<float, run> level;
  for (std::int64_t first = 0; first < columns; first += run) {
    const std::int64_t count = std::min(run, columns - first);
    rows.levels(level.data(), row, first, count);
    rows.each_block(row, first, count, [&](std::int64_t i, auto length, float scale) {
      const float* from = level.data() + i;
      T* block = to + first + i;
#pragma omp simd
      for (std::int64_t k = 0; k < length; ++k) store(block[k], from[k] * scale);
    });
  }
}

float dot(const float* a, const float* b, std::int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

// sums[m] = row `row` of the matrix times row m of a [count, columns].
template <typename Rows>
void multiply_row(float* sums, std::int64_t count, const float* a, const Rows& rows, std::int64_t row,
                  std::int64_t columns) {
  std::array<float, run> level;
  std::fill_n(sums, count, 0.0F);
  for (std::int64_t first = 0; first < columns; first += run) {
    const std::int64_t width = std::min(run, columns - first);
    rows.levels(level.data(), row, first, width);
    rows.each_block(row, first, width, [&](std::int64_t i, auto length, float scale) {
      for (std::int64_t m = 0; m < count; ++m)
        sums[m] += scale * dot(level.data() + i, a + m * columns + first + i, length);
    });
  }
}

}  // namespace

void CpuBackend::dequantise(Tensor out, const QuantisedMatrix& matrix) {
  const std::int64_t columns = matrix.columns();
  visit_float(out.dtype(), [&]<typename T>(T) {
    visit_rows(matrix, [&](const auto& rows) {
      parallel_chunks(threads_, matrix.rows(), rows_per_chunk(columns),
                      [&](std::int64_t begin, std::int64_t end) {
                        for (std::int64_t row = begin; row < end; ++row)
                          read_row(out.data<T>() + row * columns, rows, row, columns);
                      });
    });
  });
}

void CpuBackend::matmul_quantised(Tensor out, ConstTensor a, const QuantisedMatrix& matrix, Tensor scratch) {
  const std::int64_t count = a.dim(0), columns = matrix.columns(), outputs = matrix.rows();
  if (count > few_rows) return composed::matmul_quantised(*this, out, a, matrix, scratch);
  reserve_scratch(a.elements() * static_cast<std::int64_t>(sizeof(float)));
  float* widened = scratch_[0].floats(a.elements());
  visit_float(a.dtype(), [&]<typename T>(T) {
    for (std::int64_t i = 0; i < a.elements(); ++i) widened[i] = static_cast<float>(a.data<T>()[i]);
    visit_rows(matrix, [&](const auto& rows) {
      parallel_chunks(threads_, outputs, rows_per_chunk(columns), [&](std::int64_t begin, std::int64_t end) {
        std::array<float, few_rows> sums;
        for (std::int64_t row = begin; row < end; ++row) {
          multiply_row(sums.data(), count, widened, rows, row, columns);
          for (std::int64_t m = 0; m < count; ++m)
            store(out.data<T>()[m * outputs + row], sums[static_cast<std::size_t>(m)]);
        }
      });
    });
  });
}

}  // namespace chorus
