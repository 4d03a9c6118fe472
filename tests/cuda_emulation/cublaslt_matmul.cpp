// cuBLASLt: what it accepts, the heuristic, and the entry point of the product.

#include <algorithm>
#include <cstring>

#include "tests/cuda_emulation/cublaslt.h"
#include "tests/cuda_emulation/device_memory.h"
#include "tests/cuda_emulation/entry_points.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/runtime.h"
#include "tests/cuda_emulation/shadow.h"

namespace chorus::cuda_emulation {
namespace {

bool supports_types(int a, int d) {
  if (a == CUDA_R_32F) return d == CUDA_R_32F;
  return (a == CUDA_R_16BF || a == CUDA_R_16F) && (d == a || d == CUDA_R_32F);
}

bool supports_epilogue(int epilogue) {
  switch (epilogue) {
    case CUBLASLT_EPILOGUE_DEFAULT:
    case CUBLASLT_EPILOGUE_RELU:
    case CUBLASLT_EPILOGUE_GELU:
    case CUBLASLT_EPILOGUE_BIAS:
    case CUBLASLT_EPILOGUE_RELU_BIAS:
    case CUBLASLT_EPILOGUE_GELU_BIAS:
    case CUBLASLT_EPILOGUE_BGRADA:
    case CUBLASLT_EPILOGUE_BGRADB:
      return true;
    default:
      return false;
  }
}

void check_inputs(const void* data, const MatrixLayout& layout, const char* name) {
  check_range(data, layout.extent_bytes(), false, fmt::format("cublasLtMatmul, {}", name).c_str());
  if (!checked) return;
  const bool by_row = layout.order == CUBLASLT_ORDER_ROW;
  const std::size_t lines = by_row ? layout.rows : layout.columns,
                    length = by_row ? layout.columns : layout.rows;
  for (std::size_t i = 0; i < static_cast<std::size_t>(layout.batch); ++i) {
    for (std::size_t line = 0; line < lines; ++line) {
      const std::size_t at =
          i * static_cast<std::size_t>(layout.stride) + line * static_cast<std::size_t>(layout.leading);
      const std::ptrdiff_t first = first_unwritten(
          static_cast<const char*>(data) + at * layout.element_bytes(), length * layout.element_bytes());
      if (first < 0) continue;
      report(Location::current(),
             "cublasLtMatmul reads uninitialised memory: matrix {} of {}, {} {}, element {}", i, name,
             by_row ? "row" : "column", line, static_cast<std::size_t>(first) / layout.element_bytes());
    }
  }
}

void mark_outputs(void* data, const MatrixLayout& layout) {
  const bool by_row = layout.order == CUBLASLT_ORDER_ROW;
  const std::size_t lines = by_row ? layout.rows : layout.columns,
                    length = by_row ? layout.columns : layout.rows;
  for (std::size_t i = 0; i < static_cast<std::size_t>(layout.batch); ++i) {
    for (std::size_t line = 0; line < lines; ++line) {
      const std::size_t at =
          i * static_cast<std::size_t>(layout.stride) + line * static_cast<std::size_t>(layout.leading);
      mark_written(static_cast<char*>(data) + at * layout.element_bytes(), length * layout.element_bytes());
    }
  }
}

void check_alignment(const MatmulAlgorithm& algorithm, const MatmulPointers& pointers) {
  const void* given[4] = {pointers.a, pointers.b, pointers.c == nullptr ? pointers.d : pointers.c,
                          pointers.d};
  for (std::size_t i = 0; i < 4; ++i) {
    if (reinterpret_cast<std::uintptr_t>(given[i]) % algorithm.alignment[i] == 0) continue;
    report(Location::current(),
           "cublasLtMatmul: {} at {} is not aligned to the {} bytes that the heuristic was promised",
           "ABCD"[i], given[i], algorithm.alignment[i]);
  }
}

void run(const MatmulProblem& problem, const MatmulPointers& pointers, void* workspace,
         std::size_t workspace_bytes) {
  check_inputs(pointers.a, problem.a, "A");
  check_inputs(pointers.b, problem.b, "B");
  if (pointers.c != nullptr) check_inputs(pointers.c, problem.c, "C");
  check_range(pointers.d, problem.d.extent_bytes(), true, "cublasLtMatmul, D");
  if (workspace_bytes > 0) {  // the library may write anything to it
    check_range(workspace, workspace_bytes, true, "cublasLtMatmul, workspace");
    constexpr std::size_t enough = std::size_t{64} << 10;
    std::memset(workspace, 0xff, std::min(workspace_bytes, enough));
    if (checked) forget_contents(workspace, workspace_bytes);
  }
  const std::size_t bias_bytes = problem.bias_elements() * bytes_of_type(problem.bias_type());
  if (problem.reads_bias() || problem.writes_bias()) {
    check_range(problem.operation.bias, bias_bytes, problem.writes_bias(), "cublasLtMatmul, bias");
  }
  multiply_matrices(problem, pointers);
  if (!checked) return;
  mark_outputs(pointers.d, problem.d);
  if (problem.writes_bias()) mark_written(problem.operation.bias, bias_bytes);
}

}  // namespace

std::size_t bytes_of_type(int type) { return type == CUDA_R_32F ? 4 : 2; }

std::size_t MatrixLayout::element_bytes() const { return bytes_of_type(type); }

std::size_t MatrixLayout::extent_bytes() const {
  if (rows == 0 || columns == 0 || batch <= 0) return 0;
  const std::size_t last = static_cast<std::size_t>(batch - 1) * static_cast<std::size_t>(stride);
  return (last + index(rows - 1, columns - 1) + 1) * element_bytes();
}

bool MatmulProblem::reads_bias() const {
  return operation.epilogue == CUBLASLT_EPILOGUE_BIAS || operation.epilogue == CUBLASLT_EPILOGUE_RELU_BIAS ||
         operation.epilogue == CUBLASLT_EPILOGUE_GELU_BIAS;
}

cublasStatus_t MatmulProblem::check() const {
  const bool ta = operation.transpose_a != CUBLAS_OP_N, tb = operation.transpose_b != CUBLAS_OP_N;
  const std::uint64_t m = ta ? a.columns : a.rows, n = tb ? b.rows : b.columns;
  const std::uint64_t k = ta ? a.rows : a.columns, k_of_b = tb ? b.columns : b.rows;
  if (k != k_of_b || d.rows != m || d.columns != n || c.rows != m || c.columns != n) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "the shapes of the matrices do not fit");
  }
  for (const MatrixLayout* layout : {&a, &b, &c, &d}) {
    const std::uint64_t least = layout->order == CUBLASLT_ORDER_ROW ? layout->columns : layout->rows;
    if (static_cast<std::uint64_t>(layout->leading) < least) {
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "a leading dimension is smaller than its matrix");
    }
    if (layout->batch != d.batch) return refuse(CUBLAS_STATUS_INVALID_VALUE, "the batch counts differ");
  }
  if (c.type != d.type || c.order != d.order) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "C and D differ in type or order");
  }
  const bool f32 = operation.compute == CUBLAS_COMPUTE_32F ||
                   operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32 ||
                   operation.compute == CUBLAS_COMPUTE_32F_PEDANTIC;
  if (!f32 || operation.scale != CUDA_R_32F) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "this type of sums or scales is not emulated");
  }
  if (a.type != b.type || !supports_types(a.type, d.type)) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "this combination of types");
  }
  if (!supports_epilogue(operation.epilogue)) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "this epilogue is not emulated");
  }
  if (operation.epilogue != CUBLASLT_EPILOGUE_DEFAULT && d.order == CUBLASLT_ORDER_ROW) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "epilogues want column order");
  }
  if ((reads_bias() || writes_bias()) && operation.bias == nullptr) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "the epilogue wants a bias");
  }
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace chorus::cuda_emulation

using namespace chorus::cuda_emulation;

extern "C" {

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  return entry<cublasStatus_t>(__func__, [&] {
    *found = 0;
    const MatmulPreference& wishes = inside<MatmulPreference>(preference);
    const MatmulProblem problem{inside<MatmulOperation>(operation), inside<MatrixLayout>(a),
                                inside<MatrixLayout>(b), inside<MatrixLayout>(c), inside<MatrixLayout>(d)};
    if (const cublasStatus_t status = problem.check(); status != CUBLAS_STATUS_SUCCESS) return status;
    // Two, the better of which wants all the workspace that it may have.
    for (; *found < std::min(wanted, 2); ++*found) {
      cublasLtMatmulHeuristicResult_t& result = results[*found];
      result = {};
      MatmulAlgorithm algorithm;
      algorithm.workspace_bytes = *found == 0 ? wishes.workspace_bytes : 0;
      algorithm.alignment = wishes.alignment;
      static_assert(sizeof algorithm <= sizeof result.algo);
      std::memcpy(&result.algo, &algorithm, sizeof algorithm);
      result.workspaceSize = algorithm.workspace_bytes;
      result.state = CUBLAS_STATUS_SUCCESS;
      result.wavesCount = 1;
    }
    return CUBLAS_STATUS_SUCCESS;
  });
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              std::size_t workspace_bytes, cudaStream_t stream) {
  return entry<cublasStatus_t>(__func__, [&] {
    const MatmulProblem problem{inside<MatmulOperation>(operation), inside<MatrixLayout>(a_layout),
                                inside<MatrixLayout>(b_layout), inside<MatrixLayout>(c_layout),
                                inside<MatrixLayout>(d_layout)};
    if (const cublasStatus_t status = problem.check(); status != CUBLAS_STATUS_SUCCESS) return status;
    if (problem.operation.pointer_mode != CUBLASLT_POINTER_MODE_HOST) {
      return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "scales in device memory are not emulated");
    }
    MatmulPointers pointers{a, b, c, d, *static_cast<const float*>(alpha), *static_cast<const float*>(beta)};
    if (pointers.beta == 0.0F) {
      pointers.c = nullptr;
    } else if (c == nullptr) {
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "beta without C");
    }
    if (c == d && (problem.c.leading != problem.d.leading || problem.c.stride != problem.d.stride)) {
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "C is D, but laid out differently");
    }
    std::size_t needed = 0;
    if (algorithm != nullptr) {
      const auto& chosen = inside<const MatmulAlgorithm>(algorithm);
      check_alignment(chosen, {a, b, c, d, 0, 0});
      needed = chosen.workspace_bytes;
    }
    if (workspace_bytes < needed) {
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "the workspace is smaller than the algorithm wants");
    }
    if (needed > 0 && reinterpret_cast<std::uintptr_t>(workspace) % 256 != 0) {
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "the workspace is not aligned to 256 bytes");
    }
    enqueue(stream, "cublasLtMatmul", [=] {
      run(problem, pointers, workspace, needed);
      return true;
    });
    return CUBLAS_STATUS_SUCCESS;
  });
}
}
