#include "core/upload_slice.h"

#include <algorithm>

#include "ops/transfer.h"

namespace chorus {

namespace {

constexpr std::int64_t elements_per_piece = std::int64_t{1} << 20;

bool same_type(FileDType file, DType memory) {
  return (file == FileDType::bf16 && memory == DType::bf16) ||
         (file == FileDType::f32 && memory == DType::f32);
}

// Rows [begin, end) as a view of their own.
TensorView rows_of(const TensorView& tensor, std::int64_t begin, std::int64_t end) {
  TensorView part = tensor;
  const std::int64_t columns = tensor.shape.size() == 2 ? tensor.shape[1] : 1;
  part.shape[0] = end - begin;
  part.data += begin * columns * bytes_per_element(tensor.dtype);
  return part;
}

}  // namespace

void upload_slice(Backend& backend, Tensor to, const TensorView& from, int dim, std::int64_t begin,
                  std::int64_t end) {
  const bool by_rows = dim == 0;
  const TensorView kept = by_rows ? rows_of(from, begin, end) : from;
  if (by_rows && same_type(from.dtype, to.dtype())) return backend.upload(to, kept.data);
  const std::int64_t rows = kept.shape[0];
  const std::int64_t width = by_rows ? (kept.shape.size() == 2 ? kept.shape[1] : 1) : end - begin;
  const std::int64_t step = std::max<std::int64_t>(1, elements_per_piece / std::max<std::int64_t>(1, width));
  for (std::int64_t row = 0; row < rows; row += step) {
    const std::int64_t stop = std::min(rows, row + step);
    const TensorView piece = rows_of(kept, row, stop);
    upload_floats(backend, to.rows(row, stop),
                  by_rows ? read_slice(piece, 0, 0, stop - row) : read_slice(piece, 1, begin, end));
  }
}

}  // namespace chorus
