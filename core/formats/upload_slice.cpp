#include "core/formats/upload_slice.h"

#include <algorithm>

#include "ops/transfer.h"

namespace chorus {

namespace {

constexpr std::int64_t elements_per_piece = std::int64_t{1} << 20;

bool same_type(FileDType file, DType memory) {
  return (file == FileDType::bf16 && memory == DType::bf16) ||
         (file == FileDType::f32 && memory == DType::f32);
}

}  // namespace

std::optional<TensorView> as_stored(const TensorView& tensor, DType dtype, int dim, std::int64_t begin,
                                    std::int64_t end) {
  if (!same_type(tensor.dtype, dtype)) return std::nullopt;
  if (dim == 0) return tensor.rows(begin, end);
  const bool whole = begin == 0 && end == tensor.shape.at(static_cast<std::size_t>(dim));
  return whole ? std::optional(tensor) : std::nullopt;
}

void upload_slice(Backend& backend, Tensor to, const TensorView& from, int dim, std::int64_t begin,
                  std::int64_t end) {
  const auto give_back = [](const TensorView& read) {
    if (read.file) read.file->give_back(read.bytes());
  };
  if (const auto stored = as_stored(from, to.dtype(), dim, begin, end)) {
    backend.upload(to, stored->data);
    return give_back(*stored);
  }
  const TensorView kept = dim == 0 ? from.rows(begin, end) : from;
  const std::int64_t rows = kept.shape[0], columns = kept.shape.size() == 2 ? kept.shape[1] : 1;
  const std::int64_t step =
      std::max<std::int64_t>(1, elements_per_piece / std::max<std::int64_t>(1, columns));
  for (std::int64_t row = 0; row < rows; row += step) {
    const std::int64_t stop = std::min(rows, row + step);
    const TensorView piece = kept.rows(row, stop);
    upload_floats(backend, to.rows(row, stop),
                  dim == 0 ? read_tensor(piece) : read_slice(piece, 1, begin, end));
    give_back(piece);
  }
}

}  // namespace chorus
