#include <algorithm>
#include <array>

#include "ops/cpu/matmul_plans.h"
#include "ops/cpu/parallel_for.h"

namespace chorus {

namespace {

dnnl::memory::data_type library_type(DType dtype) {
  return dtype == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

dnnl::memory::desc matrix(std::int64_t rows, std::int64_t columns, DType dtype, bool transposed,
                          std::int64_t leading) {
  const dnnl::memory::dims strides =
      transposed ? dnnl::memory::dims{1, leading} : dnnl::memory::dims{leading, 1};
  return {{rows, columns}, library_type(dtype), strides};
}

// oneDNN would start threads of its own and divide the sums by their number. We give it tiles to compute
// alone.
class OneThreadInLibrary {
 public:
  OneThreadInLibrary() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThreadInLibrary() { omp_set_num_threads(before_); }
  OneThreadInLibrary(const OneThreadInLibrary&) = delete;
  OneThreadInLibrary& operator=(const OneThreadInLibrary&) = delete;

 private:
  int before_;
};

}  // namespace

MatmulPlan::MatmulPlan(const MatmulKey& key, const dnnl::engine& engine, int workers) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (key.scaled) attributes.set_output_scales(0, {DNNL_RUNTIME_F32_VAL});
  if (key.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    attributes.set_post_ops(sum);
  }
  const auto a = matrix(key.m, key.k, key.input, key.transpose_a, key.a_leading);
  const auto b = matrix(key.k, key.n, key.input, key.transpose_b, key.b_leading);
  const auto out = matrix(key.m, key.n, key.output, false, key.out_leading);
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, b, out), attributes, engine);
  primitive_ = dnnl::matmul(description);
  scratch_bytes_ = static_cast<std::int64_t>(description.scratchpad_desc().get_size());
  const dnnl::memory::desc one({1}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::x);
  for (int worker = 0; worker < workers; ++worker) {
    Arguments arguments{{DNNL_ARG_SRC, {a, engine, nullptr}},
                        {DNNL_ARG_WEIGHTS, {b, engine, nullptr}},
                        {DNNL_ARG_DST, {out, engine, nullptr}},
                        {DNNL_ARG_SCRATCHPAD, {description.scratchpad_desc(), engine, nullptr}}};
    if (key.scaled) arguments.emplace(DNNL_ARG_ATTR_OUTPUT_SCALES, dnnl::memory(one, engine, nullptr));
    arguments_.push_back(std::move(arguments));
  }
}

void MatmulPlan::run(int worker, const dnnl::stream& stream, const void* a, const void* b, void* out,
                     const float* scale, void* scratch) {
  Arguments& arguments = arguments_[static_cast<std::size_t>(worker)];
  // The library's handles are not const, though it only reads the operands.
  arguments.at(DNNL_ARG_SRC).set_data_handle(const_cast<void*>(a));
  arguments.at(DNNL_ARG_WEIGHTS).set_data_handle(const_cast<void*>(b));
  arguments.at(DNNL_ARG_DST).set_data_handle(out);
  arguments.at(DNNL_ARG_SCRATCHPAD).set_data_handle(scratch);
  const auto factor = arguments.find(DNNL_ARG_ATTR_OUTPUT_SCALES);
  if (factor != arguments.end()) factor->second.set_data_handle(const_cast<float*>(scale));
  primitive_.execute(stream, arguments);
}

CpuBackend::MatmulPlans::MatmulPlans(int workers)
    : workers_(workers), engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
  const auto has = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto needed = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_amx);
  computes_bf16_ = (has & needed) == needed;
}

MatmulPlan& CpuBackend::MatmulPlans::find(const MatmulKey& key) {
  const auto found = plans_.find(key);
  if (found != plans_.end()) return found->second;
  return plans_.try_emplace(key, key, engine_, workers_).first->second;
}

void CpuBackend::MatmulPlans::forget_some() {
  constexpr std::size_t most = 1024;
  if (plans_.size() >= most) plans_.clear();
}

namespace {

// The extents of the pieces into which a product is cut. They follow from the shape alone, never from the
// number of threads: the library's order of summation depends on the shape that it is given. 256 x 512 runs
// at full speed (and a narrow tile avoids the library's slow path for wide untransposed b); smaller tiles
// when there would be fewer than eight.
struct Tiling {
  std::int64_t rows, columns;
};
Tiling tiling(std::int64_t m, std::int64_t n) {
  constexpr std::array<Tiling, 3> choices{{{256, 512}, {128, 512}, {128, 256}}};
  constexpr std::int64_t enough = 8;
  for (const Tiling& t : choices) {
    if (((m + t.rows - 1) / t.rows) * ((n + t.columns - 1) / t.columns) >= enough) return t;
  }
  return choices.back();
}

}  // namespace

void CpuBackend::matmul(Tensor out, ConstTensor a, ConstTensor b, MatmulOptions options) {
  if (out.empty()) return;
  const std::int64_t inner = a.dim(options.transpose_a ? 0 : 1);
  if (inner == 0) {
    if (!options.accumulate) fill(out, 0);
    return;
  }
  if (a.dtype() == DType::bf16 && !matmul_plans_->computes_bf16())
    return matmul_through_f32(out, a, b, options);
  matmul_tiles(out, a, b, options);
}

void CpuBackend::matmul_tiles(Tensor out, ConstTensor a, ConstTensor b, const MatmulOptions& options) {
  const std::int64_t rows = out.dim(0), columns = out.dim(1);
  MatmulKey key{.k = a.dim(options.transpose_a ? 0 : 1),
                .a_leading = a.dim(1),
                .b_leading = b.dim(1),
                .out_leading = columns,
                .transpose_a = options.transpose_a,
                .transpose_b = options.transpose_b,
                .accumulate = options.accumulate,
                .scaled = options.scale != 1.0F,
                .input = a.dtype(),
                .output = out.dtype()};
  const Tiling tile = tiling(rows, columns);
  const std::int64_t row_tiles = (rows + tile.rows - 1) / tile.rows;
  const std::int64_t column_tiles = (columns + tile.columns - 1) / tile.columns;
  const OneThreadInLibrary guard;

  // Whole tiles, and those cut off by the lower and the right edge.
  matmul_plans_->forget_some();
  std::array<std::array<MatmulPlan*, 2>, 2> plans{};
  std::int64_t scratch_bytes = 0;
  for (const bool last_row : {false, true}) {
    for (const bool last_column : {false, true}) {
      key.m = last_row ? rows - (row_tiles - 1) * tile.rows : tile.rows;
      key.n = last_column ? columns - (column_tiles - 1) * tile.columns : tile.columns;
      const bool occurs = (last_row || row_tiles > 1) && (last_column || column_tiles > 1);
      if (!occurs) continue;
      plans[last_row][last_column] = &matmul_plans_->find(key);
      scratch_bytes = std::max(scratch_bytes, plans[last_row][last_column]->scratch_bytes());
    }
  }

  reserve_scratch(scratch_bytes);

  const auto* a_data = static_cast<const char*>(a.address());
  const auto* b_data = static_cast<const char*>(b.address());
  auto* out_data = static_cast<char*>(out.address());
  const std::int64_t a_step = bytes_per_element(a.dtype()) * (options.transpose_a ? 1 : key.a_leading);
  const std::int64_t b_step = bytes_per_element(b.dtype()) * (options.transpose_b ? key.b_leading : 1);
  const std::int64_t out_size = bytes_per_element(out.dtype());
  parallel_tasks(threads_, row_tiles * column_tiles, [&](std::int64_t task, int worker) {
    const std::int64_t i = task % row_tiles, j = task / row_tiles;
    const std::int64_t row = i * tile.rows, column = j * tile.columns;
    plans[i == row_tiles - 1][j == column_tiles - 1]->run(
        worker, matmul_plans_->stream(), a_data + row * a_step, b_data + column * b_step,
        out_data + (row * columns + column) * out_size, &options.scale,
        scratch_[static_cast<std::size_t>(worker)].bytes(scratch_bytes));
  });
}

// Without tile registers oneDNN computes bf16 products several times slower than f32 ones, or not at all.
void CpuBackend::matmul_through_f32(Tensor out, ConstTensor a, ConstTensor b, const MatmulOptions& options) {
  const auto widened = [&](ConstTensor x, Scratch& memory) {
    return Tensor(DType::f32, x.shape(), memory.floats(x.elements()));
  };
  const Tensor a_wide = widened(a, matmul_plans_->a_copy), b_wide = widened(b, matmul_plans_->b_copy);
  convert(a_wide, a);
  convert(b_wide, b);
  if (out.dtype() == DType::f32) return matmul_tiles(out, a_wide, b_wide, options);
  const Tensor out_wide = widened(out, matmul_plans_->out_copy);
  if (options.accumulate) convert(out_wide, out);
  matmul_tiles(out_wide, a_wide, b_wide, options);
  convert(out, out_wide);
}

}  // namespace chorus
