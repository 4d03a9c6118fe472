#pragma once

#include <compare>
#include <cstdint>
#include <map>

#include <cublasLt.h>

#include "ops/cuda/handle.h"
#include "ops/tensor.h"

namespace chorus::cuda {

// All that cuBLASLt's choice of an algorithm depends on. `b` is [k, n] or, transposed, [n, k], and so on.
// Whether the product is added to `out` is not part of it: the algorithms take any factor of `out`.
struct MatmulProblem {
  std::int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  DType input = DType::f32, output = DType::f32;
  // Bytes to which all rows are aligned: a power of two up to 256.
  std::uint32_t a_alignment = 256, b_alignment = 256, out_alignment = 256;
  auto operator<=>(const MatmulProblem&) const = default;
};

// A product with the algorithm that cuBLASLt deems the best for it.
class MatmulPlan {
 public:
  // Throws where the library knows no algorithm.
  MatmulPlan(cublasLtHandle_t library, const MatmulProblem& problem, std::int64_t workspace_bytes);

  struct Operands {
    void* out;
    const void *a, *b;
    float scale;
    bool accumulate;
  };
  // `workspace` has the bytes that the plan was made for.
  void run(cublasLtHandle_t library, const Operands& operands, void* workspace, cudaStream_t stream) const;

 private:
  using Layout = Handle<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
  static Layout make_layout(DType dtype, std::int64_t rows, std::int64_t columns);
  void choose_algorithm(cublasLtHandle_t library, const MatmulProblem& problem, std::int64_t workspace_bytes);

  Handle<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy> operation_;
  Layout a_, b_, out_;
  cublasLtMatmulAlgo_t algorithm_{};
  std::size_t workspace_bytes_ = 0;  // what the algorithm uses
};

// The plans made so far: the library takes some 10 µs to choose an algorithm.
class MatmulPlanCache {
 public:
  explicit MatmulPlanCache(std::int64_t workspace_bytes);
  // Valid until the next call.
  const MatmulPlan& find(const MatmulProblem& problem);

  cublasLtHandle_t library() const { return library_.get(); }
  std::int64_t made() const { return made_; }

 private:
  Handle<cublasLtHandle_t, cublasLtDestroy> library_;
  std::int64_t workspace_bytes_;
  std::map<MatmulProblem, MatmulPlan> plans_;
  std::int64_t made_ = 0;
};

}  // namespace chorus::cuda
