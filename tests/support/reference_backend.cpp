#include "tests/support/reference_backend.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "ops/memory.h"
#include "ops/quantised_composed.h"

namespace chorus {

namespace {

// f64 tensors are read and written through these two.
double* of(const Tensor& x) { return x.data<double>(); }
const double* of(const ConstTensor& x) { return x.data<double>(); }
const std::int32_t* indices(const ConstTensor& x) { return x.data<std::int32_t>(); }

double read(const ConstTensor& x, std::int64_t i) {
  switch (x.dtype()) {
    case DType::f32:
      return static_cast<double>(x.data<float>()[i]);
    case DType::bf16:
      return static_cast<double>(x.data<bfloat16>()[i]);
    case DType::f64:
      return x.data<double>()[i];
    case DType::u8:
      return static_cast<double>(x.data<std::uint8_t>()[i]);
    case DType::i32:
      return static_cast<double>(x.data<std::int32_t>()[i]);
    case DType::i64:
      return static_cast<double>(x.data<std::int64_t>()[i]);
  }
  return 0;
}

void write(const Tensor& x, std::int64_t i, double value) {
  switch (x.dtype()) {
    case DType::f32:
      x.data<float>()[i] = static_cast<float>(value);
      return;
    case DType::bf16:
      x.data<bfloat16>()[i] = bfloat16(value);
      return;
    case DType::f64:
      x.data<double>()[i] = value;
      return;
    case DType::u8:
      x.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(value);
      return;
    case DType::i32:
      x.data<std::int32_t>()[i] = static_cast<std::int32_t>(value);
      return;
    case DType::i64:
      x.data<std::int64_t>()[i] = static_cast<std::int64_t>(value);
      return;
  }
}

// What drop() multiplies feature i of row n by.
double survival(const DropoutMask& mask, const ConstTensor& token_ids, std::int64_t n, std::int64_t i) {
  if (mask.probability == 0) return 1;
  const std::int64_t feature = mask.first_feature + i;
  const Philox::Counter words = mask.words(token_ids.data<std::int64_t>()[n], feature / 8);
  const bool kept = DropoutMask::bits(words, static_cast<int>(feature % 8)) >= mask.threshold();
  return kept ? 1 / (1 - mask.threshold() / 65536.0) : 0;
}

// visible[i · N + j]: whether token i attends to token j.
std::vector<bool> visibility(const Forest& forest) {
  const auto tokens = static_cast<std::size_t>(forest.tokens);
  std::vector<std::int32_t> segment_of(tokens);
  for (std::size_t s = 0; s < forest.segments.size(); ++s) {
    for (std::int32_t t = 0; t < forest.segments[s].length; ++t) {
      segment_of[static_cast<std::size_t>(forest.segments[s].first + t)] = static_cast<std::int32_t>(s);
    }
  }
  std::vector<bool> visible(tokens * tokens, false);
  for (std::size_t i = 0; i < tokens; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      if (segment_of[j] == segment_of[i]) {
        visible[i * tokens + j] = true;
        continue;
      }
      std::int32_t child = segment_of[i];
      while (child >= 0) {
        const Segment& s = forest.segments[static_cast<std::size_t>(child)];
        if (s.parent == segment_of[j]) {
          const std::int32_t first = forest.segments[static_cast<std::size_t>(s.parent)].first;
          visible[i * tokens + j] = static_cast<std::int32_t>(j) - first < s.branch;
          break;
        }
        child = s.parent;
      }
    }
  }
  return visible;
}

double log_sum(const double* x, std::int64_t count, std::int64_t stride) {
  double largest = -std::numeric_limits<double>::infinity();
  for (std::int64_t i = 0; i < count; ++i) largest = std::fmax(largest, x[i * stride]);
  if (std::isinf(largest)) return largest;
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += std::exp(x[i * stride] - largest);
  return largest + std::log(sum);
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

Buffer ReferenceBackend::allocate(std::int64_t bytes) {
  const std::int64_t rounded = (bytes + Arena::alignment) / Arena::alignment * Arena::alignment;
  void* data =
      std::aligned_alloc(static_cast<std::size_t>(Arena::alignment), static_cast<std::size_t>(rounded));
  require<MemoryError>(data != nullptr, "no room for ", bytes, " bytes");
  return {data, bytes, [](void* memory) { std::free(memory); }};
}

void ReferenceBackend::upload(Tensor to, const void* from) {
  if (!to.empty()) std::memcpy(to.address(), from, static_cast<std::size_t>(to.bytes()));
}

void ReferenceBackend::download(void* to, ConstTensor from) {
  if (!from.empty()) std::memcpy(to, from.address(), static_cast<std::size_t>(from.bytes()));
}

void ReferenceBackend::convert(Tensor out, ConstTensor x) {
  if (out.dtype() == x.dtype()) return upload(out, x.address());
  for (std::int64_t i = 0; i < x.elements(); ++i) write(out, i, read(x, i));
}

void ReferenceBackend::fill(Tensor out, double value) {
  for (std::int64_t i = 0; i < out.elements(); ++i) write(out, i, value);
}

void ReferenceBackend::add(Tensor out, ConstTensor a, ConstTensor b) {
  for (std::int64_t i = 0; i < out.elements(); ++i) of(out)[i] = of(a)[i] + of(b)[i];
}

void ReferenceBackend::relu(Tensor out, ConstTensor x) {
  for (std::int64_t i = 0; i < x.elements(); ++i) of(out)[i] = of(x)[i] < 0 ? 0 : of(x)[i];
}

void ReferenceBackend::relu_backward(Tensor dx, ConstTensor dout, ConstTensor x) {
  for (std::int64_t i = 0; i < x.elements(); ++i) of(dx)[i] = of(x)[i] <= 0 ? 0 : of(dout)[i];
}

void ReferenceBackend::dropout(Tensor out, ConstTensor x, ConstTensor token_ids, const DropoutMask& mask) {
  const std::int64_t width = x.dim(1);
  for (std::int64_t n = 0; n < x.dim(0); ++n) {
    for (std::int64_t i = 0; i < width; ++i)
      of(out)[n * width + i] = of(x)[n * width + i] * survival(mask, token_ids, n, i);
  }
}

void ReferenceBackend::matmul(Tensor out, ConstTensor a, ConstTensor b, MatmulOptions options) {
  const std::int64_t rows = out.dim(0), columns = out.dim(1), inner = a.dim(options.transpose_a ? 0 : 1);
  for (std::int64_t m = 0; m < rows; ++m) {
    for (std::int64_t n = 0; n < columns; ++n) {
      double sum = 0;
      for (std::int64_t k = 0; k < inner; ++k) {
        const double left = of(a)[options.transpose_a ? k * rows + m : m * inner + k];
        const double right = of(b)[options.transpose_b ? n * inner + k : k * columns + n];
        sum += left * right;
      }
      const double before = options.accumulate ? of(out)[m * columns + n] : 0;
      of(out)[m * columns + n] = before + static_cast<double>(options.scale) * sum;
    }
  }
}

void ReferenceBackend::dequantise(Tensor out, const QuantisedMatrix& matrix) {
  const auto code = [&](std::int64_t i) { return matrix.codes.data<std::uint8_t>()[i]; };
  const auto scale = [&](std::int64_t i) { return read(matrix.scales, i); };
  const std::int64_t columns = matrix.columns();
  for (std::int64_t i = 0; i < out.elements(); ++i) {
    const std::int64_t row = i / columns, column = i % columns;
    if (matrix.kind == Quantisation::int8) {
      of(out)[i] = scale(row) * static_cast<std::int8_t>(code(i));
      continue;
    }
    const std::int64_t own_block = i / QuantisedMatrix::block;
    const std::int64_t block = matrix.first_block + row * matrix.row_stride + column / QuantisedMatrix::block;
    const std::int64_t dynamic = static_cast<std::int64_t>(read(matrix.scale_codes, own_block));
    const double absmax = scale(0) + scale(1 + block / QuantisedMatrix::blocks_per_group) *
                                         read(matrix.levels, QuantisedMatrix::normal_levels + dynamic);
    const int normal = i % 2 == 0 ? code(i / 2) / 16 : code(i / 2) % 16;
    of(out)[i] = read(matrix.levels, normal) * absmax;
  }
}

void ReferenceBackend::matmul_quantised(Tensor out, ConstTensor a, const QuantisedMatrix& matrix,
                                        Tensor scratch) {
  composed::matmul_quantised(*this, out, a, matrix, scratch);
}

void ReferenceBackend::add_bias(Tensor y, ConstTensor bias) {
  const std::int64_t width = y.dim(1);
  for (std::int64_t n = 0; n < y.dim(0); ++n) {
    for (std::int64_t i = 0; i < width; ++i) of(y)[n * width + i] += of(bias)[i];
  }
}

void ReferenceBackend::bias_backward(Tensor dbias, ConstTensor dy) {
  const std::int64_t width = dy.dim(1);
  for (std::int64_t n = 0; n < dy.dim(0); ++n) {
    for (std::int64_t i = 0; i < width; ++i) of(dbias)[i] += of(dy)[n * width + i];
  }
}

void ReferenceBackend::low_rank_down(std::span<const LowRankDown> paths, ConstTensor x, ConstTensor token_ids,
                                     Tensor) {
  const std::int64_t width = x.dim(1);
  for (const LowRankDown& path : paths) {
    const std::int64_t rank = path.a.dim(0);
    for (std::int64_t n = 0; n < x.dim(0); ++n) {
      for (std::int64_t r = 0; r < rank; ++r) {
        double sum = 0;
        for (std::int64_t i = 0; i < width; ++i)
          sum += of(x)[n * width + i] * survival(path.mask, token_ids, n, i) * of(path.a)[r * width + i];
        of(path.u)[n * rank + r] = sum;
      }
    }
  }
}

void ReferenceBackend::low_rank_input_gradient(Tensor dx, std::span<const LowRankInputGradient> paths,
                                               ConstTensor token_ids, Tensor) {
  const std::int64_t width = dx.dim(1);
  for (const LowRankInputGradient& path : paths) {
    const std::int64_t rank = path.a.dim(0);
    for (std::int64_t n = 0; n < dx.dim(0); ++n) {
      for (std::int64_t i = 0; i < width; ++i) {
        double sum = 0;
        for (std::int64_t r = 0; r < rank; ++r) sum += of(path.du)[n * rank + r] * of(path.a)[r * width + i];
        of(dx)[n * width + i] += sum * survival(path.mask, token_ids, n, i);
      }
    }
  }
}

void ReferenceBackend::low_rank_factor_gradient(std::span<const LowRankFactorGradient> paths, ConstTensor x,
                                                ConstTensor token_ids, Tensor) {
  const std::int64_t width = x.dim(1);
  for (const LowRankFactorGradient& path : paths) {
    const std::int64_t rank = path.da.dim(0);
    for (std::int64_t r = 0; r < rank; ++r) {
      for (std::int64_t i = 0; i < width; ++i) {
        double sum = 0;
        for (std::int64_t n = 0; n < x.dim(0); ++n)
          sum += of(path.du)[n * rank + r] * of(x)[n * width + i] * survival(path.mask, token_ids, n, i);
        of(path.da)[r * width + i] += sum;
      }
    }
  }
}

void ReferenceBackend::gather_rows(Tensor out, ConstTensor x, ConstTensor rows) {
  const std::int64_t width = x.dim(1);
  for (std::int64_t m = 0; m < rows.dim(0); ++m) {
    for (std::int64_t i = 0; i < width; ++i) write(out, m * width + i, read(x, indices(rows)[m] * width + i));
  }
}

void ReferenceBackend::scatter_rows(Tensor out, ConstTensor x, ConstTensor rows) {
  const std::int64_t width = x.dim(1);
  for (std::int64_t m = 0; m < rows.dim(0); ++m) {
    for (std::int64_t i = 0; i < width; ++i) write(out, indices(rows)[m] * width + i, read(x, m * width + i));
  }
}

void ReferenceBackend::embed(Tensor out, ConstTensor table, ConstTensor tokens, std::int64_t first) {
  const std::int64_t width = table.dim(1);
  for (std::int64_t n = 0; n < tokens.dim(0); ++n) {
    const std::int64_t row = indices(tokens)[n] - first;
    const bool held = 0 <= row && row < table.dim(0);
    for (std::int64_t i = 0; i < width; ++i) of(out)[n * width + i] = held ? of(table)[row * width + i] : 0;
  }
}

void ReferenceBackend::embed_backward(Tensor dtable, ConstTensor dout, ConstTensor tokens,
                                      std::int64_t first) {
  const std::int64_t width = dtable.dim(1);
  for (std::int64_t n = 0; n < tokens.dim(0); ++n) {
    const std::int64_t row = indices(tokens)[n] - first;
    if (row < 0 || row >= dtable.dim(0)) continue;
    for (std::int64_t i = 0; i < width; ++i) of(dtable)[row * width + i] += of(dout)[n * width + i];
  }
}

void ReferenceBackend::rms_norm(Tensor out, Tensor rstd, ConstTensor x, ConstTensor weight, double epsilon) {
  const std::int64_t width = x.dim(1);
  for (std::int64_t n = 0; n < x.dim(0); ++n) {
    double sum = 0;
    for (std::int64_t i = 0; i < width; ++i) sum += of(x)[n * width + i] * of(x)[n * width + i];
    of(rstd)[n] = 1 / std::sqrt(sum / static_cast<double>(width) + epsilon);
    for (std::int64_t i = 0; i < width; ++i) {
      of(out)[n * width + i] = of(x)[n * width + i] * of(rstd)[n] * of(weight)[i];
    }
  }
}

void ReferenceBackend::rms_norm_backward(Tensor dx, ConstTensor dout, ConstTensor x, ConstTensor weight,
                                         ConstTensor rstd) {
  const std::int64_t width = x.dim(1);
  for (std::int64_t n = 0; n < x.dim(0); ++n) {
    const double r = of(rstd)[n];
    double mean = 0;
    for (std::int64_t i = 0; i < width; ++i) {
      mean += of(dout)[n * width + i] * of(weight)[i] * of(x)[n * width + i] / static_cast<double>(width);
    }
    for (std::int64_t i = 0; i < width; ++i) {
      const double g = of(dout)[n * width + i] * of(weight)[i];
      of(dx)[n * width + i] += r * (g - of(x)[n * width + i] * r * r * mean);
    }
  }
}

void ReferenceBackend::rms_norm_weight_backward(Tensor dweight, ConstTensor dout, ConstTensor x,
                                                ConstTensor rstd) {
  const std::int64_t width = x.dim(1);
  for (std::int64_t n = 0; n < x.dim(0); ++n) {
    for (std::int64_t i = 0; i < width; ++i) {
      of(dweight)[i] += of(dout)[n * width + i] * of(x)[n * width + i] * of(rstd)[n];
    }
  }
}

void ReferenceBackend::rope(Tensor x, ConstTensor positions, ConstTensor cos_sin, Rotation rotation) {
  const std::int64_t heads = x.dim(1), width = x.dim(2), half = width / 2;
  for (std::int64_t n = 0; n < x.dim(0); ++n) {
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t j = 0; j < half; ++j) {
        const std::int64_t row = indices(positions)[n] * width;
        const double cosine = of(cos_sin)[row + j];
        const double sine = of(cos_sin)[row + half + j] * (rotation == Rotation::forward ? 1 : -1);
        double& first = of(x)[(n * heads + h) * width + j];
        double& second = of(x)[(n * heads + h) * width + half + j];
        const double a = first, b = second;
        first = a * cosine - b * sine;
        second = a * sine + b * cosine;
      }
    }
  }
}

void ReferenceBackend::attention(Tensor out, Tensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                                 const Forest& forest) {
  const std::int64_t tokens = q.dim(0), heads = q.dim(1), key_heads = k.dim(1), width = q.dim(2);
  const std::vector<bool> visible = visibility(forest);
  for (std::int64_t i = 0; i < tokens; ++i) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t key_head = h * key_heads / heads;
      std::vector<double> scores(static_cast<std::size_t>(tokens), -std::numeric_limits<double>::infinity());
      for (std::int64_t j = 0; j < tokens; ++j) {
        if (!visible[static_cast<std::size_t>(i * tokens + j)]) continue;
        double sum = 0;
        for (std::int64_t d = 0; d < width; ++d) {
          sum += of(q)[(i * heads + h) * width + d] * of(k)[(j * key_heads + key_head) * width + d];
        }
        scores[static_cast<std::size_t>(j)] = sum / std::sqrt(static_cast<double>(width));
      }
      const double normalizer = log_sum(scores.data(), tokens, 1);
      of(lse)[i * heads + h] = normalizer;
      for (std::int64_t d = 0; d < width; ++d) {
        double sum = 0;
        for (std::int64_t j = 0; j < tokens; ++j) {
          const double p = std::exp(scores[static_cast<std::size_t>(j)] - normalizer);
          if (p > 0) sum += p * of(v)[(j * key_heads + key_head) * width + d];
        }
        of(out)[(i * heads + h) * width + d] = sum;
      }
    }
  }
}

// With p the probabilities and dp = dout vᵀ:  dv = pᵀ dout,  ds = p ∘ (dp - dout · out),  dq = ds k / √K,
// dk = dsᵀ q / √K.
void ReferenceBackend::attention_backward(Tensor dq, Tensor dk, Tensor dv, ConstTensor dout, ConstTensor out,
                                          ConstTensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                                          const Forest& forest) {
  const std::int64_t tokens = q.dim(0), heads = q.dim(1), key_heads = k.dim(1), width = q.dim(2);
  const double scale = 1 / std::sqrt(static_cast<double>(width));
  const std::vector<bool> visible = visibility(forest);
  fill(dq, 0);
  fill(dk, 0);
  fill(dv, 0);
  for (std::int64_t i = 0; i < tokens; ++i) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t query = (i * heads + h) * width;
      double delta = 0;
      for (std::int64_t d = 0; d < width; ++d) delta += of(dout)[query + d] * of(out)[query + d];
      for (std::int64_t j = 0; j < tokens; ++j) {
        if (!visible[static_cast<std::size_t>(i * tokens + j)]) continue;
        const std::int64_t key = (j * key_heads + h * key_heads / heads) * width;
        double score = 0, dp = 0;
        for (std::int64_t d = 0; d < width; ++d) {
          score += of(q)[query + d] * of(k)[key + d] * scale;
          dp += of(dout)[query + d] * of(v)[key + d];
        }
        const double p = std::exp(score - of(lse)[i * heads + h]);
        const double ds = p * (dp - delta);
        for (std::int64_t d = 0; d < width; ++d) {
          of(dv)[key + d] += p * of(dout)[query + d];
          of(dq)[query + d] += ds * of(k)[key + d] * scale;
          of(dk)[key + d] += ds * of(q)[query + d] * scale;
        }
      }
    }
  }
}

void ReferenceBackend::cached_attention(Tensor out, ConstTensor q, ConstTensor k, ConstTensor v,
                                        ConstTensor lengths) {
  const std::int64_t heads = q.dim(1), width = q.dim(2), rows = k.dim(1), key_heads = k.dim(2);
  for (std::int64_t b = 0; b < q.dim(0); ++b) {
    const std::int64_t length = indices(lengths)[b];
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t query = (b * heads + h) * width;
      const auto key = [&](std::int64_t s) {
        return ((b * rows + s) * key_heads + h * key_heads / heads) * width;
      };
      std::vector<double> scores(static_cast<std::size_t>(length), 0);
      for (std::int64_t s = 0; s < length; ++s) {
        for (std::int64_t d = 0; d < width; ++d) {
          scores[static_cast<std::size_t>(s)] +=
              of(q)[query + d] * of(k)[key(s) + d] / std::sqrt(static_cast<double>(width));
        }
      }
      const double normalizer = log_sum(scores.data(), length, 1);
      for (std::int64_t d = 0; d < width; ++d) {
        double sum = 0;
        for (std::int64_t s = 0; s < length; ++s) {
          sum += std::exp(scores[static_cast<std::size_t>(s)] - normalizer) * of(v)[key(s) + d];
        }
        of(out)[query + d] = sum;
      }
    }
  }
}

void ReferenceBackend::swiglu(Tensor out, ConstTensor gate, ConstTensor up) {
  for (std::int64_t i = 0; i < out.elements(); ++i) {
    of(out)[i] = of(gate)[i] * sigmoid(of(gate)[i]) * of(up)[i];
  }
}

void ReferenceBackend::swiglu_backward(Tensor dgate, Tensor dup, ConstTensor dout, ConstTensor gate,
                                       ConstTensor up) {
  for (std::int64_t i = 0; i < dout.elements(); ++i) {
    const double g = of(gate)[i], u = of(up)[i], d = of(dout)[i], s = sigmoid(g);
    of(dgate)[i] = d * u * (s + g * s * (1 - s));
    of(dup)[i] = d * g * s;
  }
}

void ReferenceBackend::log_sum_exp(Tensor lse, ConstTensor logits) {
  for (std::int64_t m = 0; m < logits.dim(0); ++m) {
    of(lse)[m] = log_sum(of(logits) + m * logits.dim(1), logits.dim(1), 1);
  }
}

void ReferenceBackend::combine_log_sum_exp(Tensor lse, ConstTensor parts) {
  for (std::int64_t m = 0; m < parts.dim(1); ++m)
    of(lse)[m] = log_sum(of(parts) + m, parts.dim(0), parts.dim(1));
}

void ReferenceBackend::target_log_probability(Tensor out, ConstTensor logits, ConstTensor lse,
                                              ConstTensor rows, ConstTensor tokens, std::int64_t first) {
  for (std::int64_t t = 0; t < rows.dim(0); ++t) {
    const std::int64_t row = indices(rows)[t], column = indices(tokens)[t] - first;
    const bool held = 0 <= column && column < logits.dim(1);
    of(out)[t] = held ? of(logits)[row * logits.dim(1) + column] - of(lse)[row] : 0;
  }
}

void ReferenceBackend::cross_entropy_backward(Tensor dlogits, ConstTensor logits, ConstTensor lse,
                                              ConstTensor rows, ConstTensor tokens, ConstTensor weights,
                                              std::int64_t first, double scale) {
  const std::int64_t width = logits.dim(1);
  fill(dlogits, 0);
  for (std::int64_t t = 0; t < rows.dim(0); ++t) {
    const std::int64_t row = indices(rows)[t];
    for (std::int64_t v = 0; v < width; ++v) {
      const double p = std::exp(of(logits)[row * width + v] - of(lse)[row]);
      const double here = first + v == indices(tokens)[t] ? 1 : 0;
      of(dlogits)[row * width + v] += scale * of(weights)[t] * (p - here);
    }
  }
}

void ReferenceBackend::sum_of_squares(Tensor out, ConstTensor x) {
  double sum = 0;
  for (std::int64_t i = 0; i < x.elements(); ++i) sum += of(x)[i] * of(x)[i];
  *of(out) = sum;
}

void ReferenceBackend::adamw(Tensor value, Tensor m, Tensor v, ConstTensor gradient,
                             const AdamWOptions& options) {
  const auto t = static_cast<double>(options.step);
  for (std::int64_t i = 0; i < value.elements(); ++i) {
    const double g = options.gradient_scale * of(gradient)[i];
    of(m)[i] = options.beta1 * of(m)[i] + (1 - options.beta1) * g;
    of(v)[i] = options.beta2 * of(v)[i] + (1 - options.beta2) * g * g;
    const double m_hat = of(m)[i] / (1 - std::pow(options.beta1, t));
    const double v_hat = of(v)[i] / (1 - std::pow(options.beta2, t));
    const double direction = m_hat / (std::sqrt(v_hat) + options.epsilon);
    of(value)[i] -= options.learning_rate * (options.weight_decay * of(value)[i] + direction);
  }
}

}  // namespace chorus
