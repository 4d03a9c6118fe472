#include "ops/checked_backend.h"

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace chorus {

// An argument under its name in backend.h.
struct Argument {
  std::string_view name;
  ConstTensor tensor;
};

}  // namespace chorus

// Text is only made for a call that is refused.
template <>
struct fmt::formatter<chorus::Argument> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  auto format(const chorus::Argument& a, fmt::format_context& context) const {
    return fmt::format_to(context.out(), "{} ({} {})", a.name, chorus::name(a.tensor.dtype()),
                          chorus::to_string(a.tensor.shape()));
  }
};

namespace chorus {

namespace {

bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f64; }

// The checks of one call. `call` is the operator's name.
class Contract {
 public:
  explicit Contract(std::string_view call) : call_(call) {}

  void rank(const Argument& a, int rank) const {
    expect(a.tensor.shape().rank() == rank, a, " must have ", rank, " dims");
  }
  void shape(const Argument& a, const Shape& shape) const {
    expect(a.tensor.shape() == shape, a, " must be ", shape);
  }
  void same_shape(const Argument& first, std::initializer_list<Argument> others) const {
    for (const Argument& a : others) {
      expect(a.tensor.shape() == first.tensor.shape(), a, " must have the shape of ", first);
    }
  }
  void type(const Argument& a, DType dtype) const {
    expect(a.tensor.dtype() == dtype, a, " must be of type ", name(dtype));
  }
  // All of one float type.
  void float_type(const Argument& first, std::initializer_list<Argument> others = {}) const {
    expect(is_float(first.tensor.dtype()), first, " must be of type f32, bf16 or f64");
    for (const Argument& a : others) {
      expect(a.tensor.dtype() == first.tensor.dtype(), a, " must have the type of ", first);
    }
  }
  // What is marked `acc`, when the computation is in the type of `of`.
  void accumulator_of(const Argument& of, std::initializer_list<Argument> accumulated) const {
    for (const Argument& a : accumulated) type(a, accumulator(of.tensor.dtype()));
  }
  // Of the type in which sums are held, where no other argument says which.
  void accumulated(const Argument& first, std::initializer_list<Argument> others = {}) const {
    expect(first.tensor.dtype() == DType::f32 || first.tensor.dtype() == DType::f64, first,
           " must be of type f32 or f64");
    float_type(first, others);
  }

  // Overlapping memory would be read after it was overwritten.
  void apart(const Argument& out, std::initializer_list<Argument> others) const {
    for (const Argument& a : others) {
      expect(!overlap(out.tensor, a.tensor), out, " must not overlap ", a);
    }
  }
  // For outputs that an element-wise operator may write over one of its inputs.
  void apart_or_same(const Argument& out, std::initializer_list<Argument> others) const {
    for (const Argument& a : others) {
      const bool same = out.tensor.address() == a.tensor.address() &&
                        out.tensor.dtype() == a.tensor.dtype() && out.tensor.shape() == a.tensor.shape();
      expect(same || !overlap(out.tensor, a.tensor), out, " must be ", a.name, " itself or not overlap ", a);
    }
  }

  template <typename... Parts>
  void expect(const Condition& condition, const Parts&... parts) const {
    require(condition, call_, ": ", parts...);
  }

 private:
  static bool overlap(const ConstTensor& a, const ConstTensor& b) {
    if (a.empty() || b.empty()) return false;
    const auto a_begin = reinterpret_cast<std::uintptr_t>(a.address());
    const auto b_begin = reinterpret_cast<std::uintptr_t>(b.address());
    return a_begin < b_begin + static_cast<std::uintptr_t>(b.bytes()) &&
           b_begin < a_begin + static_cast<std::uintptr_t>(a.bytes());
  }

  std::string_view call_;
};

// q [N, Hq, K] against k, v [N, Hk, K] and the forest of N tokens.
// `whole`: a tensor of the matrix's shape that it is read back into.
void check_quantised(const Contract& contract, const Argument& whole, const QuantisedMatrix& matrix) {
  contract.float_type(whole);
  contract.rank(whole, 2);
  contract.shape(whole, matrix.shape);
  const Argument codes{"codes", matrix.codes}, scales{"scales", matrix.scales};
  const std::int64_t rows = matrix.rows(), columns = matrix.columns(),
                     multiple = columns_multiple(matrix.kind);
  contract.expect(columns % multiple == 0, whole, " must have a multiple of ", multiple, " columns");
  contract.type(codes, DType::u8);
  contract.type(scales, DType::f32);
  const auto begins_a_word = [&](const Argument& a) {
    const bool aligned = reinterpret_cast<std::uintptr_t>(a.tensor.address()) % 16 == 0;
    contract.expect(aligned, a, " must begin at a multiple of 16 bytes");
  };
  begins_a_word(whole);
  begins_a_word(codes);
  if (matrix.kind == Quantisation::int8) {
    contract.shape(codes, matrix.shape);
    contract.shape(scales, {rows});
  } else {
    const Argument scale_codes{"scale_codes", matrix.scale_codes}, levels{"levels", matrix.levels};
    const std::int64_t row_blocks = columns / QuantisedMatrix::block;
    contract.shape(codes, {rows, columns / 2});
    contract.type(scale_codes, DType::u8);
    contract.shape(scale_codes, {rows, row_blocks});
    contract.type(levels, DType::f32);
    contract.shape(levels, {QuantisedMatrix::normal_levels + QuantisedMatrix::dynamic_levels});
    const std::int64_t end = rows == 0 ? 0 : matrix.first_block + (rows - 1) * matrix.row_stride + row_blocks;
    contract.expect(matrix.first_block >= 0 && matrix.row_stride >= row_blocks &&
                        end <= matrix.groups() * QuantisedMatrix::blocks_per_group,
                    "blocks ", matrix.first_block, " to ", end, ", of rows ", matrix.row_stride,
                    " apart, in ", scales);
    contract.apart(whole, {scale_codes, levels});
  }
  contract.apart(whole, {codes, scales});
}

void check_attention_inputs(const Contract& contract, const Argument& q, const Argument& k, const Argument& v,
                            const Forest& forest) {
  contract.float_type(q, {k, v});
  contract.rank(q, 3);
  contract.rank(k, 3);
  contract.same_shape(k, {v});
  contract.expect(q.tensor.dim(0) == k.tensor.dim(0) && q.tensor.dim(2) == k.tensor.dim(2), k,
                  " must have the tokens and the head width of ", q);
  contract.expect(k.tensor.dim(1) > 0 && q.tensor.dim(1) % k.tensor.dim(1) == 0, "the heads of ", q,
                  " must be a multiple of those of ", k);
  contract.expect(q.tensor.dim(2) > 0 && q.tensor.dim(2) <= 256, "the head width of ", q,
                  " must be between 1 and 256");
  contract.expect(forest.tokens == q.tensor.dim(0), "a forest of ", forest.tokens, " tokens for ", q);
  validate(forest);
}

// drop(x) of tensors of x's shape, as the operators of low-rank paths do it.
void check_mask(const Contract& contract, const Argument& x, const DropoutMask& mask, ConstTensor token_ids) {
  contract.expect(mask.probability >= 0 && mask.probability < 1, "probability ", mask.probability,
                  " is not in [0, 1)");
  contract.expect(mask.first_feature >= 0, "first_feature is ", mask.first_feature);
  contract.type({"token_ids", token_ids}, DType::i64);
  contract.shape({"token_ids", token_ids}, {x.tensor.dim(0)});
}

// Of each path: its mask, and its u [N, R] and a [R, I] beside x [N, I].
void check_path(const Contract& contract, const Argument& x, const Argument& u, const Argument& a,
                const DropoutMask& mask, ConstTensor token_ids, ConstTensor scratch) {
  contract.rank(x, 2);
  contract.rank(u, 2);
  contract.rank(a, 2);
  contract.expect(u.tensor.dim(0) == x.tensor.dim(0) && a.tensor.dim(1) == x.tensor.dim(1) &&
                      u.tensor.dim(1) == a.tensor.dim(0),
                  u, " and ", a, " do not fit ", x);
  if (mask.probability == 0) return;
  check_mask(contract, x, mask, token_ids);
  const Argument memory{"scratch", scratch};
  contract.float_type(x, {memory});
  contract.same_shape(x, {memory});
  contract.apart(memory, {x, u, a, {"token_ids", token_ids}});
}

// rows, tokens i32 [T] of logits acc [M, V/P] with lse acc [M]
void check_targets(const Contract& contract, const Argument& logits, const Argument& lse,
                   const Argument& rows, const Argument& tokens, std::int64_t first) {
  contract.rank(logits, 2);
  contract.accumulated(logits, {lse});
  contract.shape(lse, {logits.tensor.dim(0)});
  contract.type(rows, DType::i32);
  contract.type(tokens, DType::i32);
  contract.rank(rows, 1);
  contract.same_shape(rows, {tokens});
  contract.expect(first >= 0, "first is ", first);
}

// Rows of [?, D] tensors chosen by i32 [M].
void check_rows(const Contract& contract, const Argument& many, const Argument& chosen,
                const Argument& rows) {
  contract.float_type(many, {chosen});
  contract.rank(many, 2);
  contract.type(rows, DType::i32);
  contract.rank(rows, 1);
  contract.shape(chosen, {rows.tensor.dim(0), many.tensor.dim(1)});
}

}  // namespace

Buffer CheckedBackend::allocate(std::int64_t bytes) {
  Contract("allocate").expect(bytes >= 0, bytes, " bytes");
  return inner_.allocate(bytes);
}

void CheckedBackend::upload(Tensor to, const void* from) {
  Contract("upload").expect(to.empty() || from != nullptr, "no memory to read ", Argument{"to", to}, " from");
  inner_.upload(to, from);
}

void CheckedBackend::download(void* to, ConstTensor from) {
  Contract("download")
      .expect(from.empty() || to != nullptr, "no memory to write ", Argument{"from", from}, " to");
  inner_.download(to, from);
}

void CheckedBackend::convert(Tensor out, ConstTensor x) {
  const Contract contract("convert");
  contract.same_shape({"out", out}, {{"x", x}});
  contract.expect(out.dtype() == x.dtype() || (is_float(out.dtype()) && is_float(x.dtype())),
                  Argument{"x", x}, " cannot become ", name(out.dtype()));
  contract.apart({"out", out}, {{"x", x}});
  inner_.convert(out, x);
}

void CheckedBackend::fill(Tensor out, double value) { inner_.fill(out, value); }

void CheckedBackend::add(Tensor out, ConstTensor a, ConstTensor b) {
  const Contract contract("add");
  contract.float_type({"out", out}, {{"a", a}, {"b", b}});
  contract.same_shape({"out", out}, {{"a", a}, {"b", b}});
  contract.apart_or_same({"out", out}, {{"a", a}, {"b", b}});
  inner_.add(out, a, b);
}

void CheckedBackend::relu(Tensor out, ConstTensor x) {
  const Contract contract("relu");
  contract.float_type({"out", out}, {{"x", x}});
  contract.same_shape({"out", out}, {{"x", x}});
  contract.apart_or_same({"out", out}, {{"x", x}});
  inner_.relu(out, x);
}

void CheckedBackend::relu_backward(Tensor dx, ConstTensor dout, ConstTensor x) {
  const Contract contract("relu_backward");
  contract.float_type({"dx", dx}, {{"dout", dout}, {"x", x}});
  contract.same_shape({"dx", dx}, {{"dout", dout}, {"x", x}});
  contract.apart_or_same({"dx", dx}, {{"dout", dout}});
  contract.apart({"dx", dx}, {{"x", x}});
  inner_.relu_backward(dx, dout, x);
}

void CheckedBackend::dropout(Tensor out, ConstTensor x, ConstTensor token_ids, const DropoutMask& mask) {
  const Contract contract("dropout");
  contract.float_type({"x", x}, {{"out", out}});
  contract.rank({"x", x}, 2);
  contract.same_shape({"x", x}, {{"out", out}});
  check_mask(contract, {"x", x}, mask, token_ids);
  contract.apart_or_same({"out", out}, {{"x", x}});
  contract.apart({"out", out}, {{"token_ids", token_ids}});
  inner_.dropout(out, x, token_ids, mask);
}

void CheckedBackend::matmul(Tensor out, ConstTensor a, ConstTensor b, MatmulOptions options) {
  const Contract contract("matmul");
  contract.float_type({"a", a}, {{"b", b}});
  contract.expect(out.dtype() == a.dtype() || out.dtype() == accumulator(a.dtype()), Argument{"out", out},
                  " must have the type of ", Argument{"a", a}, " or ", name(accumulator(a.dtype())));
  contract.rank({"a", a}, 2);
  contract.rank({"b", b}, 2);
  const std::int64_t rows = a.dim(options.transpose_a ? 1 : 0), inner = a.dim(options.transpose_a ? 0 : 1);
  const std::int64_t columns = b.dim(options.transpose_b ? 0 : 1);
  contract.expect(b.dim(options.transpose_b ? 1 : 0) == inner, Argument{"a", a},
                  options.transpose_a ? " transposed" : "", " times ", Argument{"b", b},
                  options.transpose_b ? " transposed" : "", " does not fit");
  contract.shape({"out", out}, {rows, columns});
  contract.expect(std::isfinite(options.scale), "scale is ", options.scale);
  contract.apart({"out", out}, {{"a", a}, {"b", b}});
  inner_.matmul(out, a, b, options);
}

void CheckedBackend::dequantise(Tensor out, const QuantisedMatrix& matrix) {
  const Contract contract("dequantise");
  check_quantised(contract, {"out", out}, matrix);
  inner_.dequantise(out, matrix);
}

void CheckedBackend::matmul_quantised(Tensor out, ConstTensor a, const QuantisedMatrix& matrix,
                                      Tensor scratch) {
  const Contract contract("matmul_quantised");
  contract.float_type({"a", a}, {{"out", out}, {"scratch", scratch}});
  check_quantised(contract, {"scratch", scratch}, matrix);
  contract.rank({"a", a}, 2);
  contract.shape({"a", a}, {a.dim(0), matrix.columns()});
  contract.shape({"out", out}, {a.dim(0), matrix.rows()});
  contract.apart({"out", out},
                 {{"a", a}, {"scratch", scratch}, {"codes", matrix.codes}, {"scales", matrix.scales}});
  contract.apart({"scratch", scratch}, {{"a", a}});
  inner_.matmul_quantised(out, a, matrix, scratch);
}

void CheckedBackend::add_bias(Tensor y, ConstTensor bias) {
  const Contract contract("add_bias");
  contract.float_type({"y", y}, {{"bias", bias}});
  contract.rank({"y", y}, 2);
  contract.shape({"bias", bias}, {y.dim(1)});
  contract.apart({"y", y}, {{"bias", bias}});
  inner_.add_bias(y, bias);
}

void CheckedBackend::bias_backward(Tensor dbias, ConstTensor dy) {
  const Contract contract("bias_backward");
  contract.float_type({"dy", dy});
  contract.accumulator_of({"dy", dy}, {{"dbias", dbias}});
  contract.rank({"dy", dy}, 2);
  contract.shape({"dbias", dbias}, {dy.dim(1)});
  contract.apart({"dbias", dbias}, {{"dy", dy}});
  inner_.bias_backward(dbias, dy);
}

void CheckedBackend::low_rank_down(std::span<const LowRankDown> paths, ConstTensor x, ConstTensor token_ids,
                                   Tensor scratch) {
  const Contract contract("low_rank_down");
  for (const LowRankDown& path : paths) {
    contract.float_type({"x", x}, {{"u", path.u}, {"a", path.a}});
    check_path(contract, {"x", x}, {"u", path.u}, {"a", path.a}, path.mask, token_ids, scratch);
    contract.apart({"u", path.u}, {{"x", x}, {"a", path.a}, {"token_ids", token_ids}});
  }
  inner_.low_rank_down(paths, x, token_ids, scratch);
}

void CheckedBackend::low_rank_input_gradient(Tensor dx, std::span<const LowRankInputGradient> paths,
                                             ConstTensor token_ids, Tensor scratch) {
  const Contract contract("low_rank_input_gradient");
  for (const LowRankInputGradient& path : paths) {
    contract.float_type({"dx", dx}, {{"du", path.du}, {"a", path.a}});
    check_path(contract, {"dx", dx}, {"du", path.du}, {"a", path.a}, path.mask, token_ids, scratch);
    contract.apart({"dx", dx}, {{"du", path.du}, {"a", path.a}, {"token_ids", token_ids}});
  }
  inner_.low_rank_input_gradient(dx, paths, token_ids, scratch);
}

void CheckedBackend::low_rank_factor_gradient(std::span<const LowRankFactorGradient> paths, ConstTensor x,
                                              ConstTensor token_ids, Tensor scratch) {
  const Contract contract("low_rank_factor_gradient");
  for (const LowRankFactorGradient& path : paths) {
    contract.float_type({"x", x}, {{"du", path.du}});
    contract.accumulator_of({"x", x}, {{"da", path.da}});
    check_path(contract, {"x", x}, {"du", path.du}, {"da", path.da}, path.mask, token_ids, scratch);
    contract.apart({"da", path.da}, {{"x", x}, {"du", path.du}, {"token_ids", token_ids}});
  }
  inner_.low_rank_factor_gradient(paths, x, token_ids, scratch);
}

void CheckedBackend::gather_rows(Tensor out, ConstTensor x, ConstTensor rows) {
  const Contract contract("gather_rows");
  check_rows(contract, {"x", x}, {"out", out}, {"rows", rows});
  contract.apart({"out", out}, {{"x", x}, {"rows", rows}});
  inner_.gather_rows(out, x, rows);
}

void CheckedBackend::scatter_rows(Tensor out, ConstTensor x, ConstTensor rows) {
  const Contract contract("scatter_rows");
  check_rows(contract, {"out", out}, {"x", x}, {"rows", rows});
  contract.apart({"out", out}, {{"x", x}, {"rows", rows}});
  inner_.scatter_rows(out, x, rows);
}

void CheckedBackend::embed(Tensor out, ConstTensor table, ConstTensor tokens, std::int64_t first) {
  const Contract contract("embed");
  check_rows(contract, {"table", table}, {"out", out}, {"tokens", tokens});
  contract.expect(first >= 0, "first is ", first);
  contract.apart({"out", out}, {{"table", table}, {"tokens", tokens}});
  inner_.embed(out, table, tokens, first);
}

void CheckedBackend::embed_backward(Tensor dtable, ConstTensor dout, ConstTensor tokens, std::int64_t first) {
  const Contract contract("embed_backward");
  contract.float_type({"dout", dout});
  contract.accumulator_of({"dout", dout}, {{"dtable", dtable}});
  contract.rank({"dtable", dtable}, 2);
  contract.type({"tokens", tokens}, DType::i32);
  contract.rank({"tokens", tokens}, 1);
  contract.shape({"dout", dout}, {tokens.dim(0), dtable.dim(1)});
  contract.expect(first >= 0, "first is ", first);
  contract.apart({"dtable", dtable}, {{"dout", dout}, {"tokens", tokens}});
  inner_.embed_backward(dtable, dout, tokens, first);
}

void CheckedBackend::rms_norm(Tensor out, Tensor rstd, ConstTensor x, ConstTensor weight, double epsilon) {
  const Contract contract("rms_norm");
  contract.float_type({"x", x}, {{"out", out}, {"weight", weight}});
  contract.accumulator_of({"x", x}, {{"rstd", rstd}});
  contract.rank({"x", x}, 2);
  contract.same_shape({"x", x}, {{"out", out}});
  contract.shape({"weight", weight}, {x.dim(1)});
  contract.shape({"rstd", rstd}, {x.dim(0)});
  contract.expect(epsilon >= 0, "epsilon is ", epsilon);
  contract.apart({"out", out}, {{"x", x}, {"weight", weight}, {"rstd", rstd}});
  contract.apart({"rstd", rstd}, {{"x", x}, {"weight", weight}});
  inner_.rms_norm(out, rstd, x, weight, epsilon);
}

void CheckedBackend::rms_norm_backward(Tensor dx, ConstTensor dout, ConstTensor x, ConstTensor weight,
                                       ConstTensor rstd) {
  const Contract contract("rms_norm_backward");
  contract.float_type({"x", x}, {{"dx", dx}, {"dout", dout}, {"weight", weight}});
  contract.accumulator_of({"x", x}, {{"rstd", rstd}});
  contract.rank({"x", x}, 2);
  contract.same_shape({"x", x}, {{"dx", dx}, {"dout", dout}});
  contract.shape({"weight", weight}, {x.dim(1)});
  contract.shape({"rstd", rstd}, {x.dim(0)});
  contract.apart({"dx", dx}, {{"dout", dout}, {"x", x}, {"weight", weight}, {"rstd", rstd}});
  inner_.rms_norm_backward(dx, dout, x, weight, rstd);
}

void CheckedBackend::rms_norm_weight_backward(Tensor dweight, ConstTensor dout, ConstTensor x,
                                              ConstTensor rstd) {
  const Contract contract("rms_norm_weight_backward");
  contract.float_type({"x", x}, {{"dout", dout}});
  contract.accumulator_of({"x", x}, {{"dweight", dweight}, {"rstd", rstd}});
  contract.rank({"x", x}, 2);
  contract.same_shape({"x", x}, {{"dout", dout}});
  contract.shape({"dweight", dweight}, {x.dim(1)});
  contract.shape({"rstd", rstd}, {x.dim(0)});
  contract.apart({"dweight", dweight}, {{"dout", dout}, {"x", x}, {"rstd", rstd}});
  inner_.rms_norm_weight_backward(dweight, dout, x, rstd);
}

void CheckedBackend::rope(Tensor x, ConstTensor positions, ConstTensor cos_sin, Rotation rotation) {
  const Contract contract("rope");
  contract.float_type({"x", x});
  contract.accumulator_of({"x", x}, {{"cos_sin", cos_sin}});
  contract.rank({"x", x}, 3);
  contract.expect(x.dim(2) % 2 == 0, "the head width of ", Argument{"x", x}, " must be even");
  contract.type({"positions", positions}, DType::i32);
  contract.shape({"positions", positions}, {x.dim(0)});
  contract.rank({"cos_sin", cos_sin}, 2);
  contract.shape({"cos_sin", cos_sin}, {cos_sin.dim(0), x.dim(2)});
  contract.apart({"x", x}, {{"positions", positions}, {"cos_sin", cos_sin}});
  inner_.rope(x, positions, cos_sin, rotation);
}

void CheckedBackend::attention(Tensor out, Tensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                               const Forest& forest) {
  const Contract contract("attention");
  check_attention_inputs(contract, {"q", q}, {"k", k}, {"v", v}, forest);
  contract.float_type({"q", q}, {{"out", out}});
  contract.same_shape({"q", q}, {{"out", out}});
  contract.accumulator_of({"q", q}, {{"lse", lse}});
  contract.shape({"lse", lse}, {q.dim(0), q.dim(1)});
  contract.apart({"out", out}, {{"lse", lse}, {"q", q}, {"k", k}, {"v", v}});
  contract.apart({"lse", lse}, {{"q", q}, {"k", k}, {"v", v}});
  inner_.attention(out, lse, q, k, v, forest);
}

void CheckedBackend::attention_backward(Tensor dq, Tensor dk, Tensor dv, ConstTensor dout, ConstTensor out,
                                        ConstTensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                                        const Forest& forest) {
  const Contract contract("attention_backward");
  check_attention_inputs(contract, {"q", q}, {"k", k}, {"v", v}, forest);
  contract.float_type({"q", q}, {{"dq", dq}, {"dk", dk}, {"dv", dv}, {"dout", dout}, {"out", out}});
  contract.same_shape({"q", q}, {{"dq", dq}, {"dout", dout}, {"out", out}});
  contract.same_shape({"k", k}, {{"dk", dk}, {"dv", dv}});
  contract.accumulator_of({"q", q}, {{"lse", lse}});
  contract.shape({"lse", lse}, {q.dim(0), q.dim(1)});
  for (const Argument& written : {Argument{"dq", dq}, Argument{"dk", dk}, Argument{"dv", dv}}) {
    contract.apart(written, {{"dout", dout}, {"out", out}, {"lse", lse}, {"q", q}, {"k", k}, {"v", v}});
  }
  contract.apart({"dq", dq}, {{"dk", dk}, {"dv", dv}});
  contract.apart({"dk", dk}, {{"dv", dv}});
  inner_.attention_backward(dq, dk, dv, dout, out, lse, q, k, v, forest);
}

void CheckedBackend::cached_attention(Tensor out, ConstTensor q, ConstTensor k, ConstTensor v,
                                      ConstTensor lengths) {
  const Contract contract("cached_attention");
  contract.float_type({"q", q}, {{"out", out}, {"k", k}, {"v", v}});
  contract.rank({"q", q}, 3);
  contract.same_shape({"q", q}, {{"out", out}});
  contract.rank({"k", k}, 4);
  contract.same_shape({"k", k}, {{"v", v}});
  contract.expect(k.dim(0) == q.dim(0) && k.dim(3) == q.dim(2), Argument{"k", k},
                  " must have the sequences and the head width of ", Argument{"q", q});
  contract.expect(k.dim(2) > 0 && q.dim(1) % k.dim(2) == 0, "the heads of ", Argument{"q", q},
                  " must be a multiple of those of ", Argument{"k", k});
  contract.type({"lengths", lengths}, DType::i32);
  contract.shape({"lengths", lengths}, {q.dim(0)});
  contract.apart({"out", out}, {{"q", q}, {"k", k}, {"v", v}, {"lengths", lengths}});
  inner_.cached_attention(out, q, k, v, lengths);
}

void CheckedBackend::swiglu(Tensor out, ConstTensor gate, ConstTensor up) {
  const Contract contract("swiglu");
  contract.float_type({"out", out}, {{"gate", gate}, {"up", up}});
  contract.same_shape({"out", out}, {{"gate", gate}, {"up", up}});
  contract.apart({"out", out}, {{"gate", gate}, {"up", up}});
  inner_.swiglu(out, gate, up);
}

void CheckedBackend::swiglu_backward(Tensor dgate, Tensor dup, ConstTensor dout, ConstTensor gate,
                                     ConstTensor up) {
  const Contract contract("swiglu_backward");
  contract.float_type({"dout", dout}, {{"dgate", dgate}, {"dup", dup}, {"gate", gate}, {"up", up}});
  contract.same_shape({"dout", dout}, {{"dgate", dgate}, {"dup", dup}, {"gate", gate}, {"up", up}});
  contract.apart({"dgate", dgate}, {{"dup", dup}, {"dout", dout}, {"up", up}});
  contract.apart({"dup", dup}, {{"dout", dout}, {"gate", gate}});
  contract.apart_or_same({"dgate", dgate}, {{"gate", gate}});
  contract.apart_or_same({"dup", dup}, {{"up", up}});
  inner_.swiglu_backward(dgate, dup, dout, gate, up);
}

void CheckedBackend::log_sum_exp(Tensor lse, ConstTensor logits) {
  const Contract contract("log_sum_exp");
  contract.rank({"logits", logits}, 2);
  contract.accumulated({"logits", logits}, {{"lse", lse}});
  contract.shape({"lse", lse}, {logits.dim(0)});
  contract.apart({"lse", lse}, {{"logits", logits}});
  inner_.log_sum_exp(lse, logits);
}

void CheckedBackend::combine_log_sum_exp(Tensor lse, ConstTensor parts) {
  const Contract contract("combine_log_sum_exp");
  contract.rank({"parts", parts}, 2);
  contract.accumulated({"parts", parts}, {{"lse", lse}});
  contract.shape({"lse", lse}, {parts.dim(1)});
  contract.apart({"lse", lse}, {{"parts", parts}});
  inner_.combine_log_sum_exp(lse, parts);
}

void CheckedBackend::target_log_probability(Tensor out, ConstTensor logits, ConstTensor lse, ConstTensor rows,
                                            ConstTensor tokens, std::int64_t first) {
  const Contract contract("target_log_probability");
  check_targets(contract, {"logits", logits}, {"lse", lse}, {"rows", rows}, {"tokens", tokens}, first);
  contract.type({"out", out}, logits.dtype());
  contract.shape({"out", out}, {rows.dim(0)});
  contract.apart({"out", out}, {{"logits", logits}, {"lse", lse}, {"rows", rows}, {"tokens", tokens}});
  inner_.target_log_probability(out, logits, lse, rows, tokens, first);
}

void CheckedBackend::cross_entropy_backward(Tensor dlogits, ConstTensor logits, ConstTensor lse,
                                            ConstTensor rows, ConstTensor tokens, ConstTensor weights,
                                            std::int64_t first, double scale) {
  const Contract contract("cross_entropy_backward");
  check_targets(contract, {"logits", logits}, {"lse", lse}, {"rows", rows}, {"tokens", tokens}, first);
  contract.float_type({"dlogits", dlogits});
  contract.accumulator_of({"dlogits", dlogits}, {{"logits", logits}});
  contract.same_shape({"logits", logits}, {{"dlogits", dlogits}});
  contract.type({"weights", weights}, logits.dtype());
  contract.same_shape({"rows", rows}, {{"weights", weights}});
  contract.expect(std::isfinite(scale), "scale is ", scale);
  contract.apart(
      {"dlogits", dlogits},
      {{"logits", logits}, {"lse", lse}, {"rows", rows}, {"tokens", tokens}, {"weights", weights}});
  inner_.cross_entropy_backward(dlogits, logits, lse, rows, tokens, weights, first, scale);
}

void CheckedBackend::sum_of_squares(Tensor out, ConstTensor x) {
  const Contract contract("sum_of_squares");
  contract.accumulated({"x", x}, {{"out", out}});
  contract.rank({"x", x}, 1);
  contract.shape({"out", out}, {1});
  contract.apart({"out", out}, {{"x", x}});
  inner_.sum_of_squares(out, x);
}

void CheckedBackend::adamw(Tensor value, Tensor m, Tensor v, ConstTensor gradient,
                           const AdamWOptions& options) {
  const Contract contract("adamw");
  contract.accumulated({"value", value}, {{"m", m}, {"v", v}, {"gradient", gradient}});
  contract.rank({"value", value}, 1);
  contract.same_shape({"value", value}, {{"m", m}, {"v", v}, {"gradient", gradient}});
  contract.expect(options.step >= 1, "step is ", options.step, ", the first one is 1");
  contract.expect(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1,
                  "beta1 is ", options.beta1, " and beta2 is ", options.beta2, ", not in [0, 1)");
  contract.apart({"value", value}, {{"m", m}, {"v", v}, {"gradient", gradient}});
  contract.apart({"m", m}, {{"v", v}, {"gradient", gradient}});
  contract.apart({"v", v}, {{"gradient", gradient}});
  inner_.adamw(value, m, v, gradient, options);
}

}  // namespace chorus
