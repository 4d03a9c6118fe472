#include <algorithm>
#include <array>
#include <cstring>

#include "ops/cpu/cpu_backend.h"
#include "ops/cpu/parallel_for.h"
#include "ops/cpu/visit_float.h"

namespace chorus {

void CpuBackend::convert(Tensor out, ConstTensor x) {
  if (out.dtype() == x.dtype()) {
    const std::int64_t size = bytes_per_element(x.dtype());
    parallel_chunks(threads_, x.elements(), elements_per_chunk, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(static_cast<char*>(out.address()) + begin * size,
                  static_cast<const char*>(x.address()) + begin * size,
                  static_cast<std::size_t>((end - begin) * size));
    });
    return;
  }
  visit_float(out.dtype(), [&]<typename To>(To) {
    visit_float(x.dtype(), [&]<typename From>(From) {
      To* to = out.data<To>();
      const From* from = x.data<From>();
      parallel_chunks(threads_, x.elements(), elements_per_chunk, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) store(to[i], static_cast<float>(from[i]));
      });
    });
  });
}

void CpuBackend::fill(Tensor out, double value) {
  const auto fill_with = [&]<typename T>(T element) {
    T* to = out.data<T>();
    parallel_chunks(threads_, out.elements(), elements_per_chunk,
                    [&](std::int64_t begin, std::int64_t end) { std::fill(to + begin, to + end, element); });
  };
  if (out.dtype() == DType::i32) return fill_with(static_cast<std::int32_t>(value));
  if (out.dtype() == DType::i64) return fill_with(static_cast<std::int64_t>(value));
  visit_float(out.dtype(), [&]<typename T>(T) { fill_with(static_cast<T>(value)); });
}

void CpuBackend::add(Tensor out, ConstTensor a, ConstTensor b) {
  visit_float(out.dtype(), [&]<typename T>(T) {
    T* to = out.data<T>();
    const T* left = a.data<T>();
    const T* right = b.data<T>();
    parallel_chunks(threads_, out.elements(), elements_per_chunk, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) {
        store(to[i], static_cast<float>(left[i]) + static_cast<float>(right[i]));
      }
    });
  });
}

// Comparisons are such that NaN passes through.
void CpuBackend::relu(Tensor out, ConstTensor x) {
  visit_float(out.dtype(), [&]<typename T>(T) {
    T* to = out.data<T>();
    const T* from = x.data<T>();
    parallel_chunks(threads_, out.elements(), elements_per_chunk, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) {
        const auto value = static_cast<float>(from[i]);
        store(to[i], value < 0 ? 0.0F : value);
      }
    });
  });
}

void CpuBackend::relu_backward(Tensor dx, ConstTensor dout, ConstTensor x) {
  visit_float(dx.dtype(), [&]<typename T>(T) {
    T* to = dx.data<T>();
    const T* d = dout.data<T>();
    const T* at = x.data<T>();
    parallel_chunks(threads_, dx.elements(), elements_per_chunk, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) {
        store(to[i], static_cast<float>(at[i]) <= 0 ? 0.0F : static_cast<float>(d[i]));
      }
    });
  });
}

namespace {

// How many Philox blocks (of eight features) are drawn at once, so that the drawing vectorises.
constexpr std::int64_t blocks_at_once = 64,
                       features_at_once = DropoutMask::features_per_draw * blocks_at_once;
using Bits = std::array<std::uint16_t, features_at_once>;

// The bits of features 8 * first_block .. of a token, in the order of the features.
void draw_bits(Bits& bits, const DropoutMask& mask, std::int64_t token_id, std::int64_t first_block) {
  std::array<std::uint32_t, features_at_once / 2> words;
  for (std::size_t i = 0; i < blocks_at_once; ++i) {
    const Philox::Counter drawn = mask.words(token_id, first_block + static_cast<std::int64_t>(i));
    for (std::size_t w = 0; w < drawn.size(); ++w) words[drawn.size() * i + w] = drawn[w];
  }
  for (std::size_t i = 0; i < words.size(); ++i) {
    bits[2 * i] = static_cast<std::uint16_t>(words[i]);
    bits[2 * i + 1] = static_cast<std::uint16_t>(words[i] >> 16);
  }
}

template <typename T>
void drop_row(T* out, const T* x, std::int64_t width, std::int64_t token_id, const DropoutMask& mask) {
  const float scale = mask.scale();
  const std::uint32_t threshold = mask.threshold();
  Bits bits;
  // `skip` features of the first block belong to the rank before this one.
  const std::int64_t skip = mask.first_feature % DropoutMask::features_per_draw;
  for (std::int64_t drawn = -skip; drawn < width; drawn += features_at_once) {
    draw_bits(bits, mask, token_id, (mask.first_feature + drawn) / DropoutMask::features_per_draw);
    const std::int64_t begin = std::max<std::int64_t>(drawn, 0);
    const std::int64_t end = std::min(width, drawn + features_at_once);
    const std::uint16_t* own = bits.data() + (begin - drawn);
#pragma omp simd
    for (std::int64_t i = 0; i < end - begin; ++i) {
      const float kept = static_cast<float>(x[begin + i]) * scale;
      store(out[begin + i], own[i] >= threshold ? kept : 0.0F);
    }
  }
}

}  // namespace

void CpuBackend::dropout(Tensor out, ConstTensor x, ConstTensor token_ids, const DropoutMask& mask) {
  if (mask.threshold() == 0) {
    if (out.address() != x.address()) convert(out, x);
    return;
  }
  const std::int64_t width = x.dim(1);
  const std::int64_t* ids = token_ids.data<std::int64_t>();
  visit_float(out.dtype(), [&]<typename T>(T) {
    T* to = out.data<T>();
    const T* from = x.data<T>();
    parallel_chunks(threads_, x.dim(0), rows_per_chunk(width), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n)
        drop_row(to + n * width, from + n * width, width, ids[n], mask);
    });
  });
}

}  // namespace chorus
