#include "core/formats/quantise.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "ops/transfer.h"

namespace chorus {

namespace {

constexpr std::int64_t block = QuantisedMatrix::block, group = QuantisedMatrix::blocks_per_group;
constexpr std::int64_t elements_at_once = std::int64_t{1} << 20;

// Half way between neighbours.
template <typename Levels>
std::vector<float> borders(const Levels& levels) {
  std::vector<float> middle;
  for (std::size_t i = 0; i + 1 < levels.size(); ++i)
    middle.push_back(
        static_cast<float>((static_cast<double>(levels[i]) + static_cast<double>(levels[i + 1])) / 2));
  return middle;
}

// Which of ascending levels is the nearest.
std::uint8_t nearest(const std::vector<float>& borders, float x) {
  return static_cast<std::uint8_t>(std::ranges::lower_bound(borders, x) - borders.begin());
}

// The same of normal levels, at the cost of two looks into tables: no bucket has more than one border.
class NearestNormal {
 public:
  NearestNormal() {
    const std::vector<float> middle = borders(normal_levels());
    std::ranges::copy(middle, borders_.begin());
    borders_.back() = std::numeric_limits<float>::infinity();
    for (std::size_t i = 0; i < first_.size(); ++i)
      first_[i] = nearest(middle, static_cast<float>(i) / (buckets / 2) - 1);
  }
  // x in -1 … 1
  std::uint8_t operator()(float x) const {
    const std::uint8_t level = first_[static_cast<std::size_t>(static_cast<int>((x + 1) * (buckets / 2)))];
    return static_cast<std::uint8_t>(level + (x > borders_[level] ? 1 : 0));
  }

 private:
  static constexpr int buckets = 256;
  std::array<float, QuantisedMatrix::normal_levels> borders_;
  std::array<std::uint8_t, buckets + 1> first_;
};

// The largest magnitude. By the bits, whose order is that of the numbers: integers are compared several at a time, and what
// is not finite is larger than all that is.
float largest(std::span<const float> values, const std::string& name) {
  std::int32_t most = 0;
  for (const float value : values) most = std::max(most, std::bit_cast<std::int32_t>(value) & 0x7fffffff);
  const auto magnitude = std::bit_cast<float>(most);
  require<DataError>(std::isfinite(magnitude), name, " holds a value that is not finite");
  return magnitude;
}

template <typename F>
void for_pieces(const MatrixPart& part, const MatrixRows& rows, const Shard& which, const F& use) {
  const std::int64_t step = std::max<std::int64_t>(1, elements_at_once / part.whole[1]);
  for (std::int64_t begin = which.begin; begin < which.end; begin += step) {
    const std::int64_t end = std::min(which.end, begin + step);
    const std::vector<float> values = rows(begin, end);
    use(values, begin, end);
  }
}

Shard own_rows(const MatrixPart& part) { return part.dim == 0 ? part.range : Shard{0, part.whole[0]}; }
Shard own_columns(const MatrixPart& part) { return part.dim == 1 ? part.range : Shard{0, part.whole[1]}; }

// x, whole and in -127 … 127 after rounding, as a byte: added to 1.5 · 2^23 it stands in the lowest bits.
std::uint8_t rounded_to_byte(float x) {
  return static_cast<std::uint8_t>(std::bit_cast<std::uint32_t>(x + 12582912.0F));
}

void quantise_int8(Backend& backend, const QuantisedMatrix& to, const MatrixPart& part,
                   const MatrixRows& rows) {
  const Shard own = own_rows(part), columns = own_columns(part);
  const auto first = static_cast<std::size_t>(columns.begin),
             width = static_cast<std::size_t>(columns.length());
  std::vector<float> scales;
  std::vector<std::uint8_t> codes;
  for_pieces(part, rows, own, [&](std::span<const float> values, std::int64_t begin, std::int64_t end) {
    codes.resize(static_cast<std::size_t>(end - begin) * width);
    for (std::size_t row = 0; row < static_cast<std::size_t>(end - begin); ++row) {
      const auto all = values.subspan(row * static_cast<std::size_t>(part.whole[1]),
                                      static_cast<std::size_t>(part.whole[1]));
      const float absmax = largest(all, part.name), inverse = absmax > 0 ? 127 / absmax : 0;
      scales.push_back(absmax / 127);
      for (std::size_t i = 0; i < width; ++i)
        codes[row * width + i] = rounded_to_byte(all[first + i] * inverse);
    }
    backend.upload(to.codes.rows(begin - own.begin, end - own.begin), codes.data());
  });
  backend.upload(to.scales, scales.data());
}

void code_block(std::span<std::uint8_t, block / 2> codes, std::span<const float, block> values,
                float absmax) {
  static const NearestNormal nearest_normal;
  const float inverse = absmax > 0 ? 1 / absmax : 0;
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const int upper = nearest_normal(values[2 * i] * inverse),
              lower = nearest_normal(values[2 * i + 1] * inverse);
    codes[i] = static_cast<std::uint8_t>(upper << 4 | lower);
  }
}

// Largest magnitudes of all blocks of the whole matrix; uploads the codes of the part.
std::vector<float> quantise_blocks(Backend& backend, const QuantisedMatrix& to, const MatrixPart& part,
                                   const MatrixRows& rows) {
  constexpr auto code_bytes = static_cast<std::size_t>(block / 2);
  const Shard own = own_rows(part), columns = own_columns(part);
  std::vector<float> absmax;
  std::vector<std::uint8_t> codes;
  for_pieces(part, rows, {0, part.whole[0]},
             [&](std::span<const float> values, std::int64_t begin, std::int64_t end) {
               codes.resize(values.size() / 2);  // at most
               std::span<std::uint8_t> free = codes;
               for (std::int64_t at = 0; at < std::ssize(values); at += block) {
                 const auto of_block = values.subspan(static_cast<std::size_t>(at)).first<block>();
                 absmax.push_back(largest(of_block, part.name));
                 const std::int64_t row = begin + at / part.whole[1], column = at % part.whole[1];
                 if (row < own.begin || row >= own.end || column < columns.begin || column >= columns.end)
                   continue;
                 code_block(free.first<code_bytes>(), of_block, absmax.back());
                 free = free.subspan(code_bytes);
               }
               const std::int64_t first = std::max(begin, own.begin), last = std::min(end, own.end);
               if (first < last)
                 backend.upload(to.codes.rows(first - own.begin, last - own.begin), codes.data());
             });
  return absmax;
}

void quantise_nf4(Backend& backend, const QuantisedMatrix& to, const MatrixPart& part,
                  const MatrixRows& rows) {
  static const std::vector<float> dynamic = borders(dynamic_levels());
  std::vector<float> absmax = quantise_blocks(backend, to, part, rows);
  const auto mean = static_cast<float>(std::accumulate(absmax.begin(), absmax.end(), 0.0) /
                                       static_cast<double>(absmax.size()));
  for (float& value : absmax) value -= mean;
  std::vector<float> scales{mean};
  std::vector<std::uint8_t> codes;
  for (std::size_t begin = 0; begin < absmax.size(); begin += group) {
    const auto of_group =
        std::span(absmax).subspan(begin, std::min<std::size_t>(group, absmax.size() - begin));
    scales.push_back(largest(of_group, part.name));
    const float inverse = scales.back() > 0 ? 1 / scales.back() : 0;
    for (const float value : of_group) codes.push_back(nearest(dynamic, value * inverse));
  }
  std::vector<std::uint8_t> own;
  for (std::int64_t row = 0; row < to.rows(); ++row) {
    const auto first = codes.begin() + to.first_block + row * to.row_stride;
    own.insert(own.end(), first, first + to.columns() / block);
  }
  backend.upload(to.scale_codes, own.data());
  backend.upload(to.scales, scales.data());
}

}  // namespace

std::span<const float, QuantisedMatrix::normal_levels> normal_levels() {
  static constexpr std::array<float, QuantisedMatrix::normal_levels> levels{-1.0F,
                                                                            -0.6961928009986877F,
                                                                            -0.5250730514526367F,
                                                                            -0.39491748809814453F,
                                                                            -0.28444138169288635F,
                                                                            -0.18477343022823334F,
                                                                            -0.09105003625154495F,
                                                                            0.0F,
                                                                            0.07958029955625534F,
                                                                            0.16093020141124725F,
                                                                            0.24611230194568634F,
                                                                            0.33791524171829224F,
                                                                            0.44070982933044434F,
                                                                            0.5626170039176941F,
                                                                            0.7229568362236023F,
                                                                            1.0F};
  return levels;
}

// An exponent of base 10 in unary, and as many bits of a fraction in 0.1 … 1 as it leaves free.
std::vector<float> dynamic_levels() {
  std::vector<float> levels{0, 1};
  constexpr int exponents = 7;
  for (int bits = 0; bits < exponents; ++bits) {
    const int fractions = 1 << bits;
    for (int i = 0; i < fractions; ++i) {
      const double middle = 0.1 + 0.9 * (i + 0.5) / fractions;
      const auto level = static_cast<float>(middle * std::pow(10.0, bits - (exponents - 1)));
      levels.insert(levels.end(), {level, -level});
    }
  }
  std::ranges::sort(levels);
  return levels;
}

Tensor upload_levels(Backend& backend, Arena& arena) {
  std::vector<float> levels(normal_levels().begin(), normal_levels().end());
  const std::vector<float> dynamic = dynamic_levels();
  levels.insert(levels.end(), dynamic.begin(), dynamic.end());
  const Tensor tensor = arena.take(DType::f32, {std::ssize(levels)});
  backend.upload(tensor, levels.data());
  return tensor;
}

QuantisedMatrix take_quantised(Arena& arena, Quantisation kind, const MatrixPart& part, Tensor levels) {
  const std::int64_t rows = own_rows(part).length(), columns = own_columns(part).length();
  const std::int64_t multiple = columns_multiple(kind);
  require<ConfigurationError>(columns % multiple == 0, "--base-precision ", name(kind),
                              " needs columns in multiples of ", multiple, ", and ", part.name, " has ",
                              columns,
                              columns == part.whole[1] ? "" : " on a tensor rank: lower --tensor-parallel");
  QuantisedMatrix matrix;
  matrix.kind = kind;
  matrix.shape = {rows, columns};
  if (kind == Quantisation::int8) {
    matrix.codes = arena.take(DType::u8, {rows, columns});
    matrix.scales = arena.take(DType::f32, {rows});
    return matrix;
  }
  matrix.row_stride = part.whole[1] / block;
  matrix.first_block = own_rows(part).begin * matrix.row_stride + own_columns(part).begin / block;
  matrix.codes = arena.take(DType::u8, {rows, columns / 2});
  matrix.scales = arena.take(DType::f32, {1 + (part.whole[0] * matrix.row_stride + group - 1) / group});
  matrix.scale_codes = arena.take(DType::u8, {rows, columns / block});
  matrix.levels = levels;
  return matrix;
}

void quantise(Backend& backend, const QuantisedMatrix& to, const MatrixPart& part, const MatrixRows& rows) {
  if (to.kind == Quantisation::int8) return quantise_int8(backend, to, part, rows);
  quantise_nf4(backend, to, part, rows);
}

}  // namespace chorus
