#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "ops/tensor.h"

namespace chorus {

// How a frozen matrix [O, I] is held in a few bits an element:
//
//   int8   w[o, i] = scales[o] · code,  code in -127 … 127          (Dettmers et al. 2022, LLM.int8(), section 2)
//   nf4    w[o, i] = absmax · normal[code] of 64 neighbours in a row, code in 0 … 15       (Dettmers et al. 2023,
//          absmax = mean + of_group · dynamic[scale_code] of 256 neighbouring blocks        QLoRA, section 3)
//
// Blocks are counted row by row over the whole matrix, of which a tensor rank has a part. none: as all else, the "same".
enum class Quantisation { none, int8, nf4 };

constexpr std::string_view name(Quantisation kind) {
  return kind == Quantisation::none ? "same" : kind == Quantisation::int8 ? "int8" : "nf4";
}

// What Backend::dequantise() reads. All tensors begin at multiples of 16 bytes.
struct QuantisedMatrix {
  static constexpr std::int64_t block = 64, blocks_per_group = 256;
  static constexpr std::int64_t normal_levels = 16, dynamic_levels = 256;

  Quantisation kind = Quantisation::nf4;
  Shape shape;   // [O, I] of the part; I is a multiple of columns_multiple(kind)
  Tensor codes;  // u8; int8: [O, I], two's complement; nf4: [O, I/2], the first of two in the upper four bits
  Tensor scales;       // f32; int8: [O]; nf4: [1 + groups], the mean, then of_group of the whole matrix
  Tensor scale_codes;  // nf4: u8 [O, I/64]
  Tensor levels;       // nf4: f32 [16 + 256], normal and dynamic
  // Of nf4: the part's first block, and how many lie between one row and the next.
  std::int64_t first_block = 0, row_stride = 0;

  std::int64_t rows() const { return shape[0]; }
  std::int64_t columns() const { return shape[1]; }
  std::int64_t groups() const { return scales.dim(0) - 1; }
  std::int64_t bytes() const { return codes.bytes() + scales.bytes() + scale_codes.bytes(); }
};

constexpr std::int64_t columns_multiple(Quantisation kind) {
  return kind == Quantisation::nf4 ? QuantisedMatrix::block : 8;
}

}  // namespace chorus
