#include "core/formats/file_tensor.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/base/error.h"
#include "ops/bfloat16.h"

namespace chorus {

namespace {

struct DTypeFacts {
  std::string_view name;
  std::int64_t bytes;
};
// In the order of FileDType.
constexpr std::array<DTypeFacts, 15> dtype_facts{{{"BOOL", 1},
                                                  {"U8", 1},
                                                  {"I8", 1},
                                                  {"F8_E5M2", 1},
                                                  {"F8_E4M3", 1},
                                                  {"I16", 2},
                                                  {"U16", 2},
                                                  {"F16", 2},
                                                  {"BF16", 2},
                                                  {"I32", 4},
                                                  {"U32", 4},
                                                  {"F32", 4},
                                                  {"F64", 8},
                                                  {"I64", 8},
                                                  {"U64", 8}}};

// Exact: every binary16 is a binary32.
float float_of_half(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t magnitude = half & 0x7fffU;
  if (magnitude >= 0x7c00U) return std::bit_cast<float>(sign | 0x7f800000U | ((magnitude & 0x3ffU) << 13));
  if (magnitude < 0x0400U) {  // subnormal: a multiple of 2^-24
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return sign != 0 ? -value : value;
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + ((127U - 15U) << 23)));
}

std::uint16_t half_of_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  std::uint32_t half = 0;
  if (magnitude > 0x7f800000U) {
    half = 0x7e00U;  // NaN
  } else if (magnitude >= 0x477ff000U) {
    half = 0x7c00U;  // from 65520 on: infinite
  } else if (magnitude < 0x38800000U) {
    half = static_cast<std::uint32_t>(std::nearbyint(std::abs(value) * 0x1p24F));  // subnormal, or 2^-14
  } else {
    half = (magnitude - ((127U - 15U) << 23) + 0xfffU + ((magnitude >> 13) & 1U)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | half);
}

void convert(FileDType dtype, const std::byte* from, std::int64_t count, float* to) {
  if (count == 0) return;
  if (dtype == FileDType::f32) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  require(is_readable(dtype), "a tensor of ", name(dtype), " cannot be read as floats");
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, from + 2 * i, sizeof bits);
    to[i] = dtype == FileDType::bf16 ? std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16)
                                     : float_of_half(bits);
  }
}

}  // namespace

std::string_view name(FileDType dtype) { return dtype_facts.at(static_cast<std::size_t>(dtype)).name; }

std::optional<FileDType> file_dtype_of(std::string_view name) {
  const auto found = std::ranges::find(dtype_facts, name, &DTypeFacts::name);
  if (found == dtype_facts.end()) return std::nullopt;
  return static_cast<FileDType>(found - dtype_facts.begin());
}

std::int64_t bytes_per_element(FileDType dtype) {
  return dtype_facts.at(static_cast<std::size_t>(dtype)).bytes;
}

std::int64_t checked_bytes(FileDType dtype, std::span<const std::int64_t> shape) {
  // An extent of 0 makes the product 0 whatever stands beside it.
  if (std::ranges::find(shape, 0) != shape.end()) return 0;
  std::int64_t bytes = bytes_per_element(dtype);
  for (const std::int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, extent, &bytes)) return -1;
  }
  return bytes;
}

bool is_readable(FileDType dtype) {
  return dtype == FileDType::f32 || dtype == FileDType::f16 || dtype == FileDType::bf16;
}

std::string to_string(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::int64_t TensorView::elements() const {
  if (std::ranges::count(shape, 0) > 0) return 0;  // the other extents may be any, and their product overflow
  std::int64_t product = 1;
  for (const std::int64_t extent : shape) product *= extent;
  return product;
}

std::span<const std::byte> TensorView::bytes() const {
  return {data, static_cast<std::size_t>(elements() * bytes_per_element(dtype))};
}

TensorView TensorView::rows(std::int64_t begin, std::int64_t end) const {
  require((shape.size() == 1 || shape.size() == 2) && 0 <= begin && begin <= end && end <= shape[0], "rows [",
          begin, ", ", end, ") of ", name, " ", to_string(shape));
  TensorView part = *this;
  const std::int64_t columns = shape.size() == 2 ? shape[1] : 1;
  part.shape[0] = end - begin;
  // A tensor that is only planned lies nowhere.
  if (data != nullptr) part.data += begin * columns * bytes_per_element(dtype);
  return part;
}

std::vector<TensorDescription> in_file_order(std::vector<TensorDescription> tensors) {
  const auto key = [](const TensorDescription& tensor) {
    return std::tuple(-static_cast<int>(tensor.dtype), std::string_view(tensor.name));
  };
  std::ranges::sort(tensors, [&](const auto& a, const auto& b) { return key(a) < key(b); });
  std::set<std::string_view> names;
  for (const auto& tensor : tensors) {
    require(names.insert(tensor.name).second, "the tensor ", tensor.name, " is to be written twice");
    require(checked_bytes(tensor.dtype, tensor.shape) >= 0, "the tensor ", tensor.name, " has the shape ",
            to_string(tensor.shape));
  }
  return tensors;
}

std::vector<float> read_slice(const TensorView& tensor, int dim, std::int64_t begin, std::int64_t end) {
  const auto& shape = tensor.shape;
  const bool has_dim = (shape.size() == 2 && (dim == 0 || dim == 1)) || (shape.size() == 1 && dim == 0);
  require(has_dim, "a slice along dim ", dim, " of ", tensor.name, " ", to_string(shape));
  require(0 <= begin && begin <= end && end <= shape[static_cast<std::size_t>(dim)], "the slice [", begin,
          ", ", end, ") along dim ", dim, " of ", tensor.name, " ", to_string(shape));

  const std::int64_t rows = shape[0];
  const std::int64_t columns = shape.size() == 2 ? shape[1] : 1;
  const std::int64_t element = bytes_per_element(tensor.dtype);
  const std::int64_t length = end - begin;
  if (dim == 0) {
    std::vector<float> values(static_cast<std::size_t>(length * columns));
    convert(tensor.dtype, tensor.data + begin * columns * element, length * columns, values.data());
    return values;
  }
  std::vector<float> values(static_cast<std::size_t>(rows * length));
  if (values.empty()) return values;
  for (std::int64_t row = 0; row < rows; ++row) {
    convert(tensor.dtype, tensor.data + (row * columns + begin) * element, length,
            values.data() + row * length);
  }
  return values;
}

std::vector<float> read_tensor(const TensorView& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  convert(tensor.dtype, tensor.data, tensor.elements(), values.data());
  return values;
}

std::vector<std::byte> stored_as(FileDType dtype, std::span<const float> values) {
  require(is_readable(dtype), "floats are not stored as ", name(dtype));
  const std::span<const std::byte> floats = std::as_bytes(values);
  if (dtype == FileDType::f32) return {floats.begin(), floats.end()};
  std::vector<std::byte> bytes(2 * values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t bits = dtype == FileDType::bf16 ? bfloat16(values[i]).bits : half_of_float(values[i]);
    std::memcpy(bytes.data() + 2 * i, &bits, sizeof bits);
  }
  return bytes;
}

}  // namespace chorus
