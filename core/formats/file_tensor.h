#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/text/files.h"

namespace chorus {

// Element types of the safetensors format, in its own order, which also orders the tensors of a file.
enum class FileDType { boolean, u8, i8, f8_e5m2, f8_e4m3, i16, u16, f16, bf16, i32, u32, f32, f64, i64, u64 };

std::string_view name(FileDType dtype);  // as in the file: "F32"
std::optional<FileDType> file_dtype_of(std::string_view name);
std::int64_t bytes_per_element(FileDType dtype);
// Of a tensor, or -1 where it leaves 64 bits.
std::int64_t checked_bytes(FileDType dtype, std::span<const std::int64_t> shape);
// Whether tensors of the type are read and written as floats: F32, F16, BF16.
bool is_readable(FileDType dtype);

// "[2, 3]"
std::string to_string(std::span<const std::int64_t> shape);

// A dense tensor of one or two dims, or of any where it is only read as a whole. `data` may be unaligned.
struct TensorView {
  std::string name;
  FileDType dtype = FileDType::f32;
  std::vector<std::int64_t> shape;
  const std::byte* data = nullptr;
  std::shared_ptr<const MappedFile> file = {};  // keeps `data` mapped; none where that is other memory

  std::int64_t elements() const;
  std::span<const std::byte> bytes() const;
  // Of one or two dims.
  TensorView rows(std::int64_t begin, std::int64_t end) const;
};

struct TensorDescription {
  std::string name;
  FileDType dtype = FileDType::f32;
  std::vector<std::int64_t> shape;
};

// The order of tensors in a file: the wider type first, then by name, as the safetensors library. Throws Error where a
// name stands twice.
std::vector<TensorDescription> in_file_order(std::vector<TensorDescription> tensors);

// The part [begin, end) along `dim` of a matrix (dim 0 or 1) or vector (dim 0) of F32, F16 or BF16, dense and
// row-major. Touches only the memory pages of that part.
std::vector<float> read_slice(const TensorView& tensor, int dim, std::int64_t begin, std::int64_t end);
// All elements, of any shape.
std::vector<float> read_tensor(const TensorView& tensor);
// Floats as a file holds them: rounded to nearest, ties to even, where the type is F16 or BF16; F32 as they are.
std::vector<std::byte> stored_as(FileDType dtype, std::span<const float> values);

}  // namespace chorus
