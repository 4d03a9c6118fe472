#include <algorithm>
#include <bit>

#include "ops/cuda/check.h"
#include "ops/cuda/cuda_backend.h"
#include "ops/cuda/low_rank.h"
#include "ops/cuda/matmul_plans.h"
#include "ops/cuda/matmul_thin.h"
#include "ops/cuda/resources.h"

// Our matrices are row-major, cuBLASLt's column-major: it sees the memory of our X as Xᵀ. So it is asked for
//   outᵀ = op(b)ᵀ op(a)ᵀ,
// its first operand being our b. What we store as [rows, columns] is its matrix of `columns` rows, of which
// each column holds `columns` elements, and what we transpose it transposes too, since that is undone on both
// sides.

namespace chorus {

namespace cuda {

namespace {

cudaDataType_t library_type(DType dtype) { return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, const auto& value) {
  check(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value),
        "cublasLtMatmulDescSetAttribute");
}
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,
         const auto& value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
        "cublasLtMatmulPreferenceSetAttribute");
}

cublasOperation_t operation(bool transpose) { return transpose ? CUBLAS_OP_T : CUBLAS_OP_N; }

// The bytes to which every row of x is aligned. A LoRA factor of rank 4 has rows of 8 bytes.
std::uint32_t row_alignment(const ConstTensor& x) {
  const auto bits = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(x.address())) |
                    static_cast<std::uint64_t>(x.dim(1) * bytes_per_element(x.dtype()));
  return std::uint32_t{1} << std::min(8, std::countr_zero(bits));
}

// Products with a factor of low rank, by kernels of our own where they fit: what takes the time is the wide matrix, and
// cuBLASLt cuts the long sums into parts, for which it sets zeros before and adds up after.
bool multiply_by_low_rank(Tensor out, ConstTensor a, ConstTensor b, const MatmulOptions& options,
                          cudaStream_t stream) {
  if (is_thin(out, a, b, options)) {
    multiply_thin(out, a, b, options, stream);
    return true;
  }
  if (options.transpose_b || options.transpose_a != options.accumulate) return false;
  return options.transpose_a ? low_rank_output_factor_gradient(out, a, b, options.scale, stream)
                             : low_rank_output_gradient(out, a, b, options.scale, stream);
}

}  // namespace

MatmulPlan::Layout MatmulPlan::make_layout(DType dtype, std::int64_t rows, std::int64_t columns) {
  cublasLtMatrixLayout_t layout = nullptr;
  check(cublasLtMatrixLayoutCreate(&layout, library_type(dtype), static_cast<std::uint64_t>(columns),
                                   static_cast<std::uint64_t>(rows), columns),
        "cublasLtMatrixLayoutCreate");
  return Layout(layout);
}

MatmulPlan::MatmulPlan(cublasLtHandle_t library, const MatmulProblem& problem, std::int64_t workspace_bytes) {
  const auto& [m, n, k, transpose_a, transpose_b, input, output, a_alignment, b_alignment, out_alignment] =
      problem;
  // Sums in f32, and of f32 without TF32, which would round the operands to 10 bits.
  cublasLtMatmulDesc_t description = nullptr;
  check(cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  operation_.reset(description);
  set(description, CUBLASLT_MATMUL_DESC_TRANSA, operation(transpose_b));
  set(description, CUBLASLT_MATMUL_DESC_TRANSB, operation(transpose_a));
  a_ = transpose_a ? make_layout(input, k, m) : make_layout(input, m, k);
  b_ = transpose_b ? make_layout(input, n, k) : make_layout(input, k, n);
  out_ = make_layout(output, m, n);
  choose_algorithm(library, problem, workspace_bytes);
}

void MatmulPlan::choose_algorithm(cublasLtHandle_t library, const MatmulProblem& problem,
                                  std::int64_t workspace_bytes) {
  cublasLtMatmulPreference_t created = nullptr;
  check(cublasLtMatmulPreferenceCreate(&created), "cublasLtMatmulPreferenceCreate");
  const Handle<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy> preference(created);
  set(created, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::uint64_t>(workspace_bytes));
  // A sum cut into parts must not round the parts to bf16.
  set(created, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      std::uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  set(created, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, problem.b_alignment);
  set(created, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, problem.a_alignment);
  set(created, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, problem.out_alignment);
  set(created, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, problem.out_alignment);

  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      library, operation_.get(), b_.get(), a_.get(), out_.get(), out_.get(), created, 1, &best, &found);
  // The library says "not supported" where it knows no algorithm.
  if (status != CUBLAS_STATUS_NOT_SUPPORTED) check(status, "cublasLtMatmulAlgoGetHeuristic");
  require(status == CUBLAS_STATUS_SUCCESS && found == 1 && best.state == CUBLAS_STATUS_SUCCESS,
          "cuBLASLt knows no algorithm for ", name(problem.input), " [", problem.m, ", ", problem.k,
          problem.transpose_a ? "] (transposed) times [" : "] times [", problem.k, ", ", problem.n,
          problem.transpose_b ? "] (transposed)" : "]", " to ", name(problem.output), ", rows aligned to ",
          problem.a_alignment, ", ", problem.b_alignment, " and ", problem.out_alignment, " bytes");
  algorithm_ = best.algo;
  workspace_bytes_ = best.workspaceSize;
}

void MatmulPlan::run(cublasLtHandle_t library, const Operands& operands, void* workspace,
                     cudaStream_t stream) const {
  const float alpha = operands.scale, beta = operands.accumulate ? 1.0F : 0.0F;
  check(cublasLtMatmul(library, operation_.get(), &alpha, operands.b, b_.get(), operands.a, a_.get(), &beta,
                       operands.out, out_.get(), operands.out, out_.get(), &algorithm_, workspace,
                       workspace_bytes_, stream),
        "cublasLtMatmul");
}

MatmulPlanCache::MatmulPlanCache(std::int64_t workspace_bytes) : workspace_bytes_(workspace_bytes) {
  cublasLtHandle_t library = nullptr;
  check(cublasLtCreate(&library), "cublasLtCreate");
  library_.reset(library);
}

const MatmulPlan& MatmulPlanCache::find(const MatmulProblem& problem) {
  // Micro-batches of ever new sizes would otherwise fill the memory.
  constexpr std::size_t most = 4096;
  const auto found = plans_.find(problem);
  if (found != plans_.end()) return found->second;
  if (plans_.size() >= most) plans_.clear();
  ++made_;
  return plans_.try_emplace(problem, library(), problem, workspace_bytes_).first->second;
}

}  // namespace cuda

void CudaBackend::matmul(Tensor out, ConstTensor a, ConstTensor b, MatmulOptions options) {
  require(a.dtype() == DType::f32 || a.dtype() == DType::bf16, "the CUDA backend does not compute in ",
          name(a.dtype()));
  if (out.empty()) return;
  const std::int64_t inner = a.dim(options.transpose_a ? 0 : 1);
  if (inner == 0) {
    if (!options.accumulate) fill(out, 0);
    return;
  }
  if (cuda::multiply_by_low_rank(out, a, b, options, stream())) return;
  const cuda::MatmulProblem problem{.m = out.dim(0),
                                    .n = out.dim(1),
                                    .k = inner,
                                    .transpose_a = options.transpose_a,
                                    .transpose_b = options.transpose_b,
                                    .input = a.dtype(),
                                    .output = out.dtype(),
                                    .a_alignment = cuda::row_alignment(a),
                                    .b_alignment = cuda::row_alignment(b),
                                    .out_alignment = cuda::row_alignment(out)};
  matmul_plans_->find(problem).run(matmul_plans_->library(),
                                   {.out = out.address(),
                                    .a = a.address(),
                                    .b = b.address(),
                                    .scale = options.scale,
                                    .accumulate = options.accumulate},
                                   workspace(cuda::Resources::workspace_bytes), stream());
}

}  // namespace chorus
