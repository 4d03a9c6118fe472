#pragma once

// Descriptors of cuBLASLt, as the emulation keeps them in the library's opaque structures.

#include <array>

#include <cublasLt.h>

#include "tests/cuda_emulation/device.h"

namespace chorus::cuda_emulation {

struct MatrixLayout {
  static constexpr std::uint64_t mark = 0x4c41594f55540001;
  static constexpr const char* name = "matrix layout";

  std::uint64_t marked = mark;
  std::uint64_t rows = 0, columns = 0;
  std::int64_t leading = 0;  // elements from one column (in row order: row) to the next
  std::int64_t stride = 0;   // elements from one matrix of a batch to the next
  std::int32_t batch = 1;
  std::int16_t type = 0;
  std::int16_t order = CUBLASLT_ORDER_COL;

  std::size_t element_bytes() const;
  std::size_t index(std::size_t row, std::size_t column) const {
    const auto ld = static_cast<std::size_t>(leading);
    return order == CUBLASLT_ORDER_ROW ? row * ld + column : column * ld + row;
  }
  // From the first matrix's begin to the last one's end.
  std::size_t extent_bytes() const;
};

struct MatmulOperation {
  static constexpr std::uint64_t mark = 0x4445534300000001;
  static constexpr const char* name = "matmul descriptor";

  std::uint64_t marked = mark;
  std::int32_t compute = CUBLAS_COMPUTE_32F, scale = CUDA_R_32F;
  std::int32_t pointer_mode = CUBLASLT_POINTER_MODE_HOST;
  std::int32_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  std::int32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  std::int32_t bias_type = -1;  // -1: that of D
  std::int32_t multiprocessors = 0;
  const void* bias = nullptr;
  std::int64_t bias_stride = 0;
};

struct MatmulPreference {
  static constexpr std::uint64_t mark = 0x5052454600000001;
  static constexpr const char* name = "matmul preference";

  std::uint64_t marked = mark;
  std::uint64_t workspace_bytes = 0;
  std::uint32_t reduction_schemes = CUBLASLT_REDUCTION_SCHEME_MASK;  // allowed; the emulation cuts no sum
  std::array<std::uint32_t, 4> alignment{256, 256, 256,
                                         256};  // of A, B, C, D in bytes: the library's default promise
};

struct MatmulAlgorithm {
  static constexpr std::uint64_t mark = 0x414c474f00000001;
  static constexpr const char* name = "matmul algorithm";

  std::uint64_t marked = mark;
  std::uint64_t workspace_bytes = 0;
  std::array<std::uint32_t, 4> alignment{};
};

[[noreturn]] void report_dead_descriptor(const char* name);

// The emulation's structure in an opaque one; reports one that was destroyed or never created.
template <typename Structure, typename Opaque>
Structure& inside(Opaque* opaque) {
  static_assert(sizeof(Structure) <= sizeof(Opaque) && alignof(Structure) <= 8);
  auto* structure = reinterpret_cast<Structure*>(opaque);
  if (opaque == nullptr || structure->marked != Structure::mark) report_dead_descriptor(Structure::name);
  return *structure;
}

// Says why, as the library does not.
cublasStatus_t refuse(cublasStatus_t status, const char* why);

// A product of matrices that both the heuristic and the multiplication look at.
struct MatmulProblem {
  MatmulOperation operation;
  MatrixLayout a, b, c, d;

  std::size_t rows() const { return d.rows; }
  std::size_t columns() const { return d.columns; }
  std::size_t depth() const { return operation.transpose_a != CUBLAS_OP_N ? a.rows : a.columns; }
  std::size_t bias_elements() const {
    return operation.epilogue == CUBLASLT_EPILOGUE_BGRADB ? columns() : rows();
  }
  bool reads_bias() const;
  bool writes_bias() const {
    return operation.epilogue == CUBLASLT_EPILOGUE_BGRADA || operation.epilogue == CUBLASLT_EPILOGUE_BGRADB;
  }
  int bias_type() const { return operation.bias_type < 0 ? d.type : operation.bias_type; }
  cublasStatus_t check() const;
};

std::size_t bytes_of_type(int type);

// Computes in host arithmetic: D = alpha op(A) op(B) + beta C, then the epilogue.
struct MatmulPointers {
  const void *a, *b, *c;  // c: null for beta = 0
  void* d;
  float alpha, beta;
};
void multiply_matrices(const MatmulProblem& problem, const MatmulPointers& pointers);

}  // namespace chorus::cuda_emulation
