#include <algorithm>
#include <array>

#include <omp.h>

#include "ops/cpu/matmul_plans.h"
#include "ops/cpu/parallel_for.h"
#include "ops/cpu/visit_float.h"

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
  for (int worker = 0; worker < workers; ++worker) {
    arguments_.push_back({{DNNL_ARG_SRC, {a, engine, nullptr}},
                          {DNNL_ARG_WEIGHTS, {b, engine, nullptr}},
                          {DNNL_ARG_DST, {out, engine, nullptr}},
                          {DNNL_ARG_SCRATCHPAD, {description.scratchpad_desc(), engine, nullptr}}});
  }
}

void MatmulPlan::run(int worker, const dnnl::stream& stream, const void* a, const void* b, void* out,
                     void* scratch) {
  Arguments& arguments = arguments_[static_cast<std::size_t>(worker)];
  // The library's handles are not const, though it only reads the operands.
  arguments.at(DNNL_ARG_SRC).set_data_handle(const_cast<void*>(a));
  arguments.at(DNNL_ARG_WEIGHTS).set_data_handle(const_cast<void*>(b));
  arguments.at(DNNL_ARG_DST).set_data_handle(out);
  arguments.at(DNNL_ARG_SCRATCHPAD).set_data_handle(scratch);
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

GridPlans CpuBackend::MatmulPlans::find(MatmulKey key, const TileGrid& grid) {
  // Micro-batches of ever new sizes would otherwise fill the memory with code.
  constexpr std::size_t most = 1024;
  if (plans_.size() >= most) plans_.clear();
  GridPlans plans{};
  for (const bool last_row : {false, true}) {
    for (const bool last_column : {false, true}) {
      const bool occurs = (last_row || grid.row_tiles() > 1) && (last_column || grid.column_tiles() > 1);
      if (!occurs) continue;
      key.m = grid.rows_at(last_row ? grid.row_tiles() - 1 : 0);
      key.n = grid.columns_at(last_column ? grid.column_tiles() - 1 : 0);
      plans[last_row][last_column] = &find(key);
    }
  }
  return plans;
}

namespace {

// The tiles follow from the shape alone, never from the number of threads: the library's order of summation
// depends on the shape that it is given. 256 x 512 runs at full speed (and a narrow tile avoids the library's
// slow path for wide untransposed b); smaller tiles where there would be fewer than eight.
TileGrid grid_for(std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t enough = 8;
  TileGrid grid{rows, columns, 256, 512};
  if (grid.row_tiles() * grid.column_tiles() < enough) grid.tile_rows = 128;
  if (grid.row_tiles() * grid.column_tiles() < enough) grid.tile_columns = 256;
  return grid;
}

// out = scale · product (+ out). oneDNN can do this too, but takes ten times as long for bf16.
template <typename T>
void store_scaled(T* out, std::int64_t out_stride, const float* product, std::int64_t product_stride,
                  std::int64_t rows, std::int64_t columns, const MatmulOptions& options) {
  const float scale = options.scale;
  const bool accumulate = options.accumulate;
  for (std::int64_t i = 0; i < rows; ++i) {
    T* to = out + i * out_stride;
    const float* from = product + i * product_stride;
#pragma omp simd
    for (std::int64_t j = 0; j < columns; ++j) {
      store(to[j], scale * from[j] + (accumulate ? static_cast<float>(to[j]) : 0.0F));
    }
  }
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
  const TileGrid grid = grid_for(out.dim(0), out.dim(1));
  const bool scaled = options.scale != 1.0F;
  const MatmulKey key{.k = a.dim(options.transpose_a ? 0 : 1),
                      .a_leading = a.dim(1),
                      .b_leading = b.dim(1),
                      .out_leading = scaled ? grid.tile_columns : grid.columns,
                      .transpose_a = options.transpose_a,
                      .transpose_b = options.transpose_b,
                      .accumulate = options.accumulate && !scaled,
                      .input = a.dtype(),
                      .output = scaled ? DType::f32 : out.dtype()};
  const OneThreadInLibrary guard;
  const GridPlans plans = matmul_plans_->find(key, grid);

  // A scaled tile is computed beside the library's own working memory, and then stored.
  const std::int64_t tile_floats = scaled ? grid.tile_rows * grid.tile_columns : 0;
  std::int64_t scratch_bytes = 0;
  for (const auto& row : plans) {
    for (const MatmulPlan* plan : row)
      scratch_bytes = std::max(scratch_bytes, plan ? plan->scratch_bytes() : 0);
  }
  reserve_scratch(tile_floats * static_cast<std::int64_t>(sizeof(float)) + scratch_bytes);

  const auto* a_data = static_cast<const char*>(a.address());
  const auto* b_data = static_cast<const char*>(b.address());
  auto* out_data = static_cast<char*>(out.address());
  const std::int64_t a_step = bytes_per_element(a.dtype()) * (options.transpose_a ? 1 : key.a_leading);
  const std::int64_t b_step = bytes_per_element(b.dtype()) * (options.transpose_b ? key.b_leading : 1);
  parallel_tasks(threads_, grid.row_tiles() * grid.column_tiles(), [&](std::int64_t task, int worker) {
    const std::int64_t i = task % grid.row_tiles(), j = task / grid.row_tiles();
    const std::int64_t row = i * grid.tile_rows, column = j * grid.tile_columns;
    float* product = scratch_[static_cast<std::size_t>(worker)].floats(0);
    char* target = out_data + (row * grid.columns + column) * bytes_per_element(out.dtype());
    void* result = scaled ? static_cast<void*>(product) : target;
    plans[i == grid.row_tiles() - 1][j == grid.column_tiles() - 1]->run(
        worker, matmul_plans_->stream(), a_data + row * a_step, b_data + column * b_step, result,
        product + tile_floats);
    if (!scaled) return;
    visit_float(out.dtype(), [&]<typename T>(T) {
      store_scaled(reinterpret_cast<T*>(target), grid.columns, product, grid.tile_columns, grid.rows_at(i),
                   grid.columns_at(j), options);
    });
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
